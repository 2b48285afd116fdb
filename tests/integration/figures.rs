//! A figure that stands on more than one page of the documents is the same on each: who measures anew, and changes one, is told of the others.

use std::fs;

/// A page of the documents, each gap of it one space.
fn page(name: &str) -> String {
    let path = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands between the two in `text`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("nothing says {before:?}"));
    rest.split_once(after).unwrap_or_else(|| panic!("{after:?} does not follow {before:?}")).0
}

#[test]
fn the_documents_say_the_same_of_a_failover() {
    let measured = page("scale.md");
    let row = between(&measured, "| the primary killed, the standby promoted half a second later | ", " | ");
    let seconds = between(row, "next good write ", " after the kill");
    let writes = between(row, "0 of ", " acknowledged writes lost");
    let said = format!(
        "good write came {seconds} after the kill, and none of {writes} was lost ([scale.md](scale.md))"
    );
    assert!(page("operations.md").contains(&said), "docs/operations.md does not say: {said}");
}
