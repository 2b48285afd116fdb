use std::io;
use std::path::PathBuf;

/// A module does not give its key to use. What there is to do follows the last semicolon.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// This build knows no modules.
    #[error("this build has no PKCS#11; build it with the cargo feature pkcs11")]
    NotBuilt,
    /// The library can't be loaded, or is none of PKCS#11.
    #[error("the library can't be loaded ({reason}); name the file that came with the module")]
    Library {
        /// Why.
        reason: String,
    },
    /// The module refuses a call.
    #[error("{function} says {code}; look at the module with its own tools")]
    Call {
        /// Which one.
        function: String,
        /// What it says, `CKR_…` if it is one of those.
        code: String,
    },
    /// The module does not answer.
    #[error("it has not answered for {seconds} seconds; look at the module with its own tools")]
    Silent {
        /// For how long it was waited for.
        seconds: u64,
    },
    /// The module could not be called, or the call broke off.
    #[error("it can't be called: {reason}; try again")]
    NotCalled {
        /// Why.
        reason: String,
    },
    /// No token has that name.
    #[error(
        "it has no token {token:?}, but {}; correct keys.pkcs11.token, or put the token in",
        among(found)
    )]
    NoToken {
        /// What was looked for.
        token: String,
        /// The labels of those that there are.
        found: Vec<String>,
    },
    /// Several tokens have that name.
    #[error("it has several tokens {token:?}; name one by its serial number: {serials}")]
    SeveralTokens {
        /// What was looked for.
        token: String,
        /// Theirs.
        serials: String,
    },
    /// The file of the PIN can't be read.
    #[error("the PIN in {path}: {source}; name a file that holds it")]
    PinFile {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Others can read or change the file of the PIN.
    #[error(
        "the PIN in {path} has mode {mode:04o}: others may read it, or its group change it; `chmod 600 {path}` (0440 will \
         do for a secret that an orchestrator mounts)"
    )]
    PinExposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The token does not take the PIN.
    #[error(
        "the token {token:?} does not take the PIN from {from}; correct it before the next start: a token counts wrong ones \
         and locks itself"
    )]
    WrongPin {
        /// Which token.
        token: String,
        /// Where the PIN came from.
        from: String,
    },
    /// One wrong PIN more would lock the token, or one was too many.
    #[error("the token {token:?} {state}; log in with the module's own tools first")]
    PinAtStake {
        /// Which token.
        token: String,
        /// How it stands.
        state: &'static str,
    },
    /// The token has no such key.
    #[error(
        "the token {token:?} has no secret key {key:?}; correct keys.pkcs11.key, or make one: `signet keys make-module-key`"
    )]
    NoKey {
        /// Which token.
        token: String,
        /// What was looked for.
        key: String,
    },
    /// The token has several such keys.
    #[error("the token {token:?} has {count} secret keys {key:?}; name one as id:HEX, or delete the others")]
    SeveralKeys {
        /// Which token.
        token: String,
        /// What was looked for.
        key: String,
        /// How many.
        count: usize,
    },
    /// The token has such a key already.
    #[error("the token {token:?} has a secret key {key:?} already; give the new one another name")]
    KeyPresent {
        /// Which token.
        token: String,
        /// Which name.
        key: String,
    },
    /// The key is not fit to be a key-encryption key.
    #[error("the secret key {key:?} {fault}; make another: `signet keys make-module-key`")]
    Unfit {
        /// Which one.
        key: String,
        /// Why not.
        fault: &'static str,
    },
    /// Where the key was is another one now.
    #[error(
        "another secret key is called {key:?} now than when it was loaded; put the former back, or restart with the settings of \
         the new one"
    )]
    OtherKey {
        /// Which name.
        key: String,
    },
}

fn among(found: &[String]) -> String {
    let quoted: Vec<String> = found.iter().map(|label| format!("{label:?}")).collect();
    if quoted.is_empty() { "none at all".to_owned() } else { quoted.join(", ") }
}

impl ModuleError {
    /// Whether it may be over in a moment, with the settings as they are: a module that is not reached has no tokens, or
    /// refuses calls.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Call { .. } | Self::Silent { .. } | Self::NotCalled { .. } => true,
            Self::NoToken { found, .. } => found.is_empty(),
            _ => false,
        }
    }

    /// The setting that it is about.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::NotBuilt
            | Self::Library { .. }
            | Self::Call { .. }
            | Self::Silent { .. }
            | Self::NotCalled { .. } => "keys.pkcs11.module",
            Self::NoToken { .. } | Self::SeveralTokens { .. } => "keys.pkcs11.token",
            Self::PinFile { .. }
            | Self::PinExposed { .. }
            | Self::WrongPin { .. }
            | Self::PinAtStake { .. } => "keys.pkcs11.pin_file",
            Self::NoKey { .. }
            | Self::SeveralKeys { .. }
            | Self::KeyPresent { .. }
            | Self::Unfit { .. }
            | Self::OtherKey { .. } => "keys.pkcs11.key",
        }
    }
}
