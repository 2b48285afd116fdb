use super::setting::{SETTINGS, Setting};

/// The setting called `key`, the index of a resource left out.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    let general = without_index(key);
    SETTINGS.iter().find(|setting| setting.key == general)
}

/// The known name closest to `key`, if any is close.
pub(super) fn closest(key: &str) -> Option<&'static str> {
    let general = without_index(key);
    SETTINGS
        .iter()
        .map(|setting| (distance(setting.key, &general), setting.key))
        .chain(SETTINGS.iter().filter_map(|setting| {
            // The right name in the wrong section.
            let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
            (last(setting.key) == last(&general)).then_some((2, setting.key))
        }))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, key)| key)
}

/// The environment variable closest to `name` among those of the settings and `others`, if any is close.
pub(super) fn closest_variable(name: &str, others: &[&str]) -> Option<String> {
    let of_settings = SETTINGS.iter().filter(|setting| !setting.key.contains('['));
    let of_settings =
        of_settings.map(|setting| format!("SIGNET_{}", setting.key.replace('.', "_").to_ascii_uppercase()));
    let all = of_settings.chain(others.iter().map(|other| (*other).to_owned()));
    let (_, closest) = all.map(|known| (distance(&known, name), known)).min().filter(|(far, _)| *far <= 2)?;
    Some(closest)
}

fn without_index(key: &str) -> String {
    match (key.find('['), key.find(']')) {
        (Some(open), Some(close)) if open < close => format!("{}[]{}", &key[..open], &key[close + 1..]),
        _ => key.to_owned(),
    }
}

/// How many letters must be changed, added or taken away to turn `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_setting() {
        assert_eq!(closest("keys.leed"), Some("keys.lead"));
        assert_eq!(closest("jwks_max_age"), Some("keys.jwks_max_age"));
        assert_eq!(closest("resources[3].scopes"), Some("resources[].scope"));
        assert_eq!(closest("unrelated.thing"), None);
        let variable = |name| closest_variable(name, &["SIGNET_CONFIG"]);
        assert_eq!(variable("SIGNET_KEYS_LEED").as_deref(), Some("SIGNET_KEYS_LEAD"));
        assert_eq!(variable("SIGNET_CONFG").as_deref(), Some("SIGNET_CONFIG"));
        assert_eq!(variable("SIGNET_UNRELATED"), None);
    }
}
