use std::borrow::Cow;

use super::ProtocolError;

/// The parameters of a request, decoded but not yet believed. Prints no values: some of them are secrets.
#[derive(Default)]
pub struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Params<'a> {
    /// More than any client has reason to send.
    const MAX: usize = 64;

    /// Takes decoded names and values. An empty value counts as absent (RFC 6749, section 3.2).
    ///
    /// # Errors
    /// `invalid_request` when a parameter other than `resource` is repeated (RFC 6749, section 3.2), or
    /// there are too many.
    pub fn new(pairs: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Result<Self, ProtocolError> {
        let mut params: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(8);
        for (name, value) in pairs {
            // RFC 8707, section 2: the one parameter that may be repeated.
            if name != "resource" && params.iter().any(|(seen, _)| *seen == name) {
                return Err(ProtocolError::invalid_request("a parameter is repeated"));
            }
            if params.len() == Self::MAX {
                return Err(ProtocolError::invalid_request("there are too many parameters"));
            }
            params.push((name, value));
        }
        Ok(Self(params))
    }

    /// The parameters' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// The parameter's value.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(each, value)| each == name && !value.is_empty()).map(|(_, value)| &**value)
    }

    /// The parameter as it was sent, be it empty: a form clears what a field held by that.
    #[must_use]
    pub fn sent(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(each, _)| each == name).map(|(_, value)| &**value)
    }

    /// The parameter's value.
    ///
    /// # Errors
    /// `invalid_request`, naming the parameter, when it is missing.
    pub fn required(&self, name: &'static str) -> Result<&str, ProtocolError> {
        self.one(name).ok_or_else(|| ProtocolError::invalid_request(format!("{name} is missing")))
    }

    /// The values of a parameter that may be repeated.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.0
            .iter()
            .filter(move |(each, value)| each == name && !value.is_empty())
            .map(|(_, value)| &**value)
    }
}

impl std::fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&'static str, &'static str)]) -> Result<Params<'static>, ProtocolError> {
        Params::new(pairs.iter().map(|(name, value)| (Cow::from(*name), Cow::from(*value))))
    }

    #[test]
    fn only_resource_may_be_repeated() {
        assert!(params(&[("scope", "a"), ("scope", "a")]).is_err());
        assert!(params(&[("unheard_of", ""), ("unheard_of", "")]).is_err());
        let both = params(&[("resource", "https://a"), ("resource", "https://b")]).unwrap();
        assert_eq!(both.all("resource").collect::<Vec<_>>(), ["https://a", "https://b"]);
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        let params = params(&[("scope", "")]).unwrap();
        assert_eq!((params.one("scope"), params.sent("scope"), params.sent("x")), (None, Some(""), None));
        assert!(params.required("scope").is_err());
    }

    #[test]
    fn too_many_are_refused() {
        let many = (0..65).map(|n| (Cow::from(n.to_string()), Cow::from("x")));
        assert!(Params::new(many).is_err());
    }

    #[test]
    fn values_are_not_printed() {
        let params = params(&[("client_secret", "hunter2")]).unwrap();
        assert_eq!(format!("{params:?}"), r#"["client_secret"]"#);
    }
}
