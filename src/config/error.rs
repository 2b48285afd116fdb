use std::fmt;

/// The settings can't be used; says everything that is wrong with them, one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// What is wrong, in the order of the settings.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, environment variable or flag that says so.
    pub origin: String,
    /// Which setting, unless it is about the origin as a whole.
    pub key: Option<String>,
    /// What it is set to; absent for secrets and for what may be one.
    pub value: Option<String>,
    /// Why that can't be.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => write!(f, "{key} = {value}: ")?,
            (Some(key), None) => write!(f, "{key}: ")?,
            (None, _) => {}
        }
        write!(f, "{}; {}", self.reason, self.remedy)
    }
}

/// What a rule says against a setting that is well-formed in itself; [`super::load_with`] adds where the
/// setting comes from and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The setting to change, such as `keys.lead` or `resources[0].lifetime`.
    pub key: String,
    /// Why it can't be so.
    pub reason: String,
    /// What to do.
    pub remedy: String,
    /// Other settings the rule looked at: while one of them is unreadable, the refusal is not shown.
    pub depends_on: &'static [&'static str],
}

impl Refusal {
    /// A refusal that depends on no other setting.
    #[must_use]
    pub fn new(key: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into(), remedy: remedy.into(), depends_on: &[] }
    }

    /// Names the other settings that the rule looked at.
    #[must_use]
    pub fn depending_on(mut self, keys: &'static [&'static str]) -> Self {
        self.depends_on = keys;
        self
    }
}
