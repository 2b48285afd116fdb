//! Tokens for tests that need a PKCS#11 module: `SoftHSM`, found where Debian puts it or named by `SIGNET_TEST_PKCS11`.
//! Tests without it pass over. A module is of a whole process, its place of tokens included: each test has its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use signet::config::{KekSource, ModuleKeyConfig, PinSource};
use signet::entropy::SeededEntropy;
use signet::keys::{Kek, KekError};
use signet::oauth::Secret;

const VARIABLE: &str = "SIGNET_TEST_PKCS11";
const OWN_DIR: &str = "SIGNET_TEST_PKCS11_DIR";
const USUAL: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

pub(crate) const TOKEN: &str = "signet";
pub(crate) const PIN: &str = "1234567";
const SO_PIN: &str = "7654321";

/// The module's library; `None`, with a note, where there is none.
#[expect(clippy::print_stderr, reason = "whoever runs the tests must know what was not tested")]
pub(crate) fn library() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(VARIABLE) {
        let path = PathBuf::from(path);
        assert!(path.exists(), "{VARIABLE} names {}, which is not there", path.display());
        return Some(path);
    }
    let found = USUAL.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        eprintln!("PASSED OVER: no SoftHSM; install softhsm2, or name its library by {VARIABLE}");
    }
    found
}

/// The settings of a `SoftHSM` whose tokens lie in `dir`; gives their file.
pub(crate) fn prepare(dir: &Path) -> PathBuf {
    let tokens = dir.join("tokens");
    std::fs::create_dir_all(&tokens).unwrap();
    let settings = dir.join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
    std::fs::write(&settings, text).unwrap();
    settings
}

/// Runs `body` in a process of its own, which is this test, `name`, called again.
pub(crate) fn in_own_process(name: &str, body: impl FnOnce(&SoftHsm)) {
    let Some(module) = library() else { return };
    if let Some(dir) = std::env::var_os(OWN_DIR) {
        return body(&SoftHsm::new(module, dir.into()));
    }
    let dir = tempfile::tempdir().unwrap();
    let settings = prepare(dir.path());
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env("SOFTHSM2_CONF", settings)
        .env(OWN_DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // A name that is no test's would pass for nothing.
    let ran = output.status.success() && said.contains("1 passed");
    assert!(ran, "{}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// A module of this process.
pub(crate) struct SoftHsm {
    pub(crate) module: PathBuf,
    pub(crate) dir: PathBuf,
    context: Pkcs11,
}

impl SoftHsm {
    fn new(module: PathBuf, dir: PathBuf) -> Self {
        let context = Pkcs11::new(&module).unwrap();
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let token = Self { module, dir, context };
        token.init(TOKEN);
        token
    }

    /// Makes a token.
    pub(crate) fn init(&self, label: &str) {
        let slots = self.context.get_slots_with_token().unwrap();
        let is_new = |slot: &&Slot| !self.context.get_token_info(**slot).unwrap().token_initialized();
        let slot = *slots.iter().find(is_new).unwrap();
        self.context.init_token(slot, &AuthPin::from(SO_PIN), label).unwrap();
        let session = self.context.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&AuthPin::from(SO_PIN))).unwrap();
        session.init_pin(&AuthPin::from(PIN)).unwrap();
    }

    pub(crate) fn slot(&self) -> Slot {
        let slots = self.context.get_slots_with_initialized_token().unwrap();
        *slots.iter().find(|slot| self.context.get_token_info(**slot).unwrap().label() == TOKEN).unwrap()
    }

    pub(crate) fn serial(&self) -> String {
        self.context.get_token_info(self.slot()).unwrap().serial_number().to_owned()
    }

    /// A session that may write, logged in. A process has one login, so the service's own stays in until this ends.
    pub(crate) fn session(&self) -> Session {
        self.session_with(PIN)
    }

    pub(crate) fn session_with(&self, pin: &str) -> Session {
        let session = self.context.open_rw_session(self.slot()).unwrap();
        // Another session may have done so.
        session.login(UserType::User, Some(&AuthPin::from(pin))).ok();
        session
    }

    /// Ends every session of this process, as the loss of a connection does.
    pub(crate) fn end_sessions(&self) {
        self.end();
        self.context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    }

    /// Ends the module in this process.
    pub(crate) fn end(&self) {
        self.context.clone().finalize().unwrap();
    }

    fn tokens(&self) -> PathBuf {
        self.dir.join("tokens")
    }

    /// Takes the tokens away, as somebody who pulls them out.
    pub(crate) fn pull_out(&self) {
        std::fs::rename(self.tokens(), self.dir.join("elsewhere")).unwrap();
        std::fs::create_dir(self.tokens()).unwrap();
        self.end_sessions();
    }

    /// Puts them back.
    pub(crate) fn put_in(&self) {
        std::fs::remove_dir(self.tokens()).unwrap();
        std::fs::rename(self.dir.join("elsewhere"), self.tokens()).unwrap();
        self.end_sessions();
    }

    /// Makes a secret key with `more` than it needs, later attributes before earlier ones.
    pub(crate) fn make(&self, label: &str, more: &[Attribute]) {
        let usual = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::ValueLen(32.into()),
        ];
        let is_same = |one: &Attribute, other: &Attribute| one.attribute_type() == other.attribute_type();
        let kept = usual.into_iter().filter(|each| !more.iter().any(|other| is_same(each, other)));
        let template: Vec<Attribute> =
            kept.chain(more.iter().cloned()).chain([Attribute::Label(label.as_bytes().to_vec())]).collect();
        self.session().generate_key(&Mechanism::GenericSecretKeyGen, &template).unwrap();
    }

    /// Deletes the keys called `label`.
    pub(crate) fn delete(&self, label: &str) {
        let session = self.session();
        for key in session.find_objects(&[Attribute::Label(label.as_bytes().to_vec())]).unwrap() {
            session.destroy_object(key).unwrap();
        }
    }

    pub(crate) fn config(&self, key: &str) -> ModuleKeyConfig {
        ModuleKeyConfig {
            module: self.module.clone(),
            token: TOKEN.to_owned(),
            key: key.to_owned(),
            pin: PinSource::Value(Secret::new(PIN.to_owned())),
        }
    }
}

/// The key-encryption key of `config`, as a start loads it.
pub(crate) fn load(config: ModuleKeyConfig) -> Result<Kek, KekError> {
    Kek::load(&KekSource::Module(Box::new(config)), Path::new("/nonexistent"), &SeededEntropy::new(1))
}
