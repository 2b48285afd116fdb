use std::path::Path;

use serde::Deserialize;

use super::CliError;
use crate::oauth::{ClientId, Secret};

/// The environment variable that holds the administering client's secret.
const SECRET_VARIABLE: &str = "SIGNET_ADMIN_CLIENT_SECRET";

/// The environment variable that names it, where no flag does.
const ID_VARIABLE: &str = "SIGNET_ADMIN_CLIENT_ID";

/// The client that administers, and its secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Its identifier.
    pub client_id: ClientId,
    /// Its secret.
    pub client_secret: Secret,
}

impl Credentials {
    /// From `file` if there is one, else `client_id`, or that of the environment, with the secret from there. There is no
    /// flag for the secret: other users of the machine could read it.
    ///
    /// # Errors
    /// When nothing is given, or the file is not one with `client_id` and `client_secret`.
    pub fn find(file: Option<&Path>, client_id: Option<ClientId>) -> Result<Self, CliError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(path) = file {
            return Self::from_file(path);
        }
        let named = || variable(ID_VARIABLE).map(|text| ClientId::parse(&text)).transpose();
        let client_id = client_id.map_or_else(named, |id| Ok(Some(id)));
        let client_id = client_id.map_err(|error| CliError::Usage(format!("{ID_VARIABLE}: {error}")))?;
        match (client_id, variable(SECRET_VARIABLE)) {
            (Some(client_id), Some(secret)) => Ok(Self { client_id, client_secret: Secret::new(secret) }),
            _ => Err(CliError::Usage(format!(
                "administration needs a client: set {ID_VARIABLE} and {SECRET_VARIABLE}, or name a \
                 file by --credentials"
            ))),
        }
    }

    fn from_file(path: &Path) -> Result<Self, CliError> {
        #[derive(Deserialize)]
        struct File {
            client_id: ClientId,
            client_secret: String,
        }

        let wrong = |reason: String| CliError::Usage(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("can't be read: {error}")))?;
        // serde's message may quote a value; its place is enough.
        let File { client_id, client_secret } = serde_json::from_str(&text).map_err(|error| {
            wrong(format!(
                "line {} is not JSON with the texts client_id and client_secret, as `signet clients register \
                 --json` prints it",
                error.line()
            ))
        })?;
        Ok(Self { client_id, client_secret: Secret::new(client_secret) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_a_registration_prints() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let json = r#"{"client_id": "ops", "client_secret": "hunter2", "scope": "signet:keys"}"#;
        std::fs::write(file.path(), json).unwrap();
        let credentials = Credentials::find(Some(file.path()), None).unwrap();
        assert_eq!(credentials.client_id.as_str(), "ops");
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }

    #[test]
    fn a_wrong_file_is_refused_without_quoting_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for json in
            [r#"{"client_id": "ops"}"#, r#"{"client_id": "a/b", "client_secret": "hunter2"}"#, "hunter2"]
        {
            std::fs::write(file.path(), json).unwrap();
            let error = Credentials::find(Some(file.path()), None).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Credentials::find(None, None).is_err());
    }
}
