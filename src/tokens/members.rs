use serde::Serialize;

/// Room for the claims of most tokens, so that they are written without growing.
const USUAL_CLAIMS: usize = 768;

/// A JSON object that is written member by member: what every access token is made of. A text is copied unless there is
/// something in it to escape; serde looks at each byte of it for that.
pub(super) struct Members(Vec<u8>);

impl Members {
    /// An object without members.
    pub(super) fn new() -> Self {
        let mut json = Vec::with_capacity(USUAL_CLAIMS);
        json.push(b'{');
        Self(json)
    }

    /// One whose value is a text.
    pub(super) fn text(&mut self, name: &'static str, text: &str) -> serde_json::Result<()> {
        // What JSON has to escape (RFC 8259, section 7). Not `any`: all bytes at once are faster than one by one.
        let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        if text.bytes().fold(false, |found, byte| found | is_escaped(byte)) {
            return self.value(name, text);
        }
        self.name(name);
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
        Ok(())
    }

    /// One whose value is whatever JSON has.
    pub(super) fn value<V: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &V,
    ) -> serde_json::Result<()> {
        self.name(name);
        serde_json::to_writer(&mut self.0, value)
    }

    /// One whose value is an object: what follows are its members, up to [`Self::close`].
    pub(super) fn open(&mut self, name: &'static str) {
        self.name(name);
        self.0.push(b'{');
    }

    /// Ends the innermost object.
    pub(super) fn close(&mut self) {
        self.0.push(b'}');
    }

    /// Ends the object itself.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.close();
        self.0
    }

    /// Names are our own words: there is nothing in them to escape.
    fn name(&mut self, name: &'static str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_writes(text in "([a-z/ \"\\\\{}]|\\PC|\\pC){0,40}", number: i64) {
            let mut members = Members::new();
            members.open("a");
            members.text("b", &text).unwrap();
            members.open("c");
            members.close();
            members.close();
            members.value("d", &number).unwrap();
            members.text("e", &text).unwrap();
            let written = String::from_utf8(members.finish()).unwrap();
            let expected = json!({ "a": { "b": text, "c": {} }, "d": number, "e": text });
            prop_assert_eq!(written, expected.to_string());
        }
    }
}
