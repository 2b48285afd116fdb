//! Where the key-encryption key comes from: one place, or none, which is for development.

use std::path::PathBuf;

use super::error::Refusal;
use super::layers::{KEK_VARIABLE, PIN_VARIABLE, Secrets};
use super::leaf::{Leaf, Wrong};
use super::reader::Reader;
use crate::oauth::Secret;

const MODULE: &str = "keys.pkcs11.module";

/// Where the key-encryption key comes from.
#[derive(Clone, Debug)]
pub enum KekSource {
    /// 32 bytes as base64url or base64, from the environment variable `SIGNET_KEYS_KEK`.
    Value(Secret),
    /// A file that holds them.
    File(PathBuf),
    /// A PKCS#11 module, which keeps the key to itself.
    Module(Box<ModuleKeyConfig>),
    /// `kek` in the key directory, made at the first start: for development only, with a warning.
    Developer,
}

/// A secret key in a token of a PKCS#11 module.
#[derive(Clone, Debug)]
pub struct ModuleKeyConfig {
    /// The module's library.
    pub module: PathBuf,
    /// The token's label, or its serial number.
    pub token: String,
    /// The key's label, or `id:` and its identifier in hex.
    pub key: String,
    /// Where the token's PIN comes from.
    pub pin: PinSource,
}

/// Where the PIN of a module's token comes from.
#[derive(Clone, Debug)]
pub enum PinSource {
    /// The environment variable `SIGNET_KEYS_PKCS11_PIN`.
    Value(Secret),
    /// A file that holds it, read at every login.
    File(PathBuf),
}

impl ModuleKeyConfig {
    /// What may be said of a key's name.
    ///
    /// # Errors
    /// When `name` begins with `id:` and goes on with anything but bytes in hex, or is empty; says why.
    pub fn check_key(name: &str) -> Result<(), &'static str> {
        match name.strip_prefix("id:") {
            Some(hex) if hex.is_empty() || hex.len() % 2 == 1 => Err("must have two digits for each byte"),
            Some(hex) if !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) => Err("must be in hex"),
            _ if name.is_empty() => Err("must not be empty"),
            _ => Ok(()),
        }
    }
}

pub(super) fn read(reader: &mut Reader, secrets: &Secrets) -> KekSource {
    let file = reader.read_optional("keys.kek_file", path);
    let module = read_module(reader, secrets.pin.clone());
    let by_variable = secrets.kek.is_some();
    match (secrets.kek.clone(), file, module) {
        (Some(secret), None, None) => KekSource::Value(secret),
        (None, Some(path), None) => KekSource::File(path),
        (None, None, Some(module)) => KekSource::Module(Box::new(module)),
        (None, None, None) => KekSource::Developer,
        (_, file, module) => {
            let key = if module.is_some() { MODULE } else { "keys.kek_file" };
            let other = if by_variable {
                format!("the environment variable {KEK_VARIABLE} gives")
            } else {
                debug_assert!(file.is_some(), "two of the three are given");
                "keys.kek_file gives".to_owned()
            };
            let reason = format!("{other} the key-encryption key too");
            reader.push(Refusal::new(key, reason, "remove one of the two"));
            KekSource::Developer
        }
    }
}

/// The three that say which key, and one PIN; or none of them.
fn read_module(reader: &mut Reader, pin: Option<Secret>) -> Option<ModuleKeyConfig> {
    let module = reader.read_optional(MODULE, path);
    let token = reader.read_optional("keys.pkcs11.token", |leaf| leaf.text().map(str::to_owned));
    let key = reader.read_optional("keys.pkcs11.key", key_name);
    let pin_file = reader.read_optional("keys.pkcs11.pin_file", path);
    let Some(module) = module else {
        // Left over from half a change: it must not end in a key-encryption key beside the keys.
        let alone = [
            ("keys.pkcs11.token", token.is_some()),
            ("keys.pkcs11.key", key.is_some()),
            ("keys.pkcs11.pin_file", pin_file.is_some()),
        ];
        for (key, _) in alone.into_iter().filter(|(_, given)| *given) {
            let reason = format!("must be given with {MODULE}");
            reader.push(
                Refusal::new(key, reason, format!("set {MODULE}, or remove it")).depending_on(&[MODULE]),
            );
        }
        return None;
    };
    for (name, given) in [("keys.pkcs11.token", token.is_some()), ("keys.pkcs11.key", key.is_some())] {
        if !given {
            let reason = format!("must be given with {MODULE}");
            let remedy =
                "name it by its label (`pkcs11-tool --module FILE --list-slots --list-objects` shows them)";
            reader.push(Refusal::new(name, reason, remedy).depending_on(&[MODULE]));
        }
    }
    let pin = match (pin, pin_file) {
        (Some(pin), None) => Some(PinSource::Value(pin)),
        (None, Some(path)) => Some(PinSource::File(path)),
        (Some(_), Some(_)) => {
            let reason = format!("the environment variable {PIN_VARIABLE} gives the PIN too");
            reader.push(Refusal::new("keys.pkcs11.pin_file", reason, "remove one of the two"));
            None
        }
        (None, None) => {
            let reason = format!("must be given with {MODULE}");
            let remedy = format!("name a file that holds the token's PIN, or set {PIN_VARIABLE}");
            reader.push(Refusal::new("keys.pkcs11.pin_file", reason, remedy).depending_on(&[MODULE]));
            None
        }
    };
    // Whatever is missing was told of; a stand-in keeps the rules from speaking of a developer's key.
    let pin = pin.unwrap_or_else(|| PinSource::Value(Secret::new(String::new())));
    Some(ModuleKeyConfig { module, token: token.unwrap_or_default(), key: key.unwrap_or_default(), pin })
}

fn key_name(leaf: &Leaf) -> Result<String, Wrong> {
    let name = leaf.text()?;
    match ModuleKeyConfig::check_key(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(reason) => Err((reason.to_owned(), "write a label, or, say, \"id:01\"".to_owned())),
    }
}

fn path(leaf: &Leaf) -> Result<PathBuf, Wrong> {
    leaf.text().map(PathBuf::from)
}
