//! The secret key in a token: found, looked at, and made.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::error::ModuleError;
use super::library::failed;

/// A key-encryption key has at least so many bytes, as one in a file has.
const BYTES: u64 = 32;

/// What the module says of the key.
#[derive(Default)]
struct Traits {
    sensitive: Option<bool>,
    extractable: Option<bool>,
    sign: Option<bool>,
    always_sensitive: bool,
    never_extractable: bool,
    local: bool,
    bytes: Option<u64>,
}

/// Finds the one secret key called `name`, and refuses it unless it is fit: it signs, has 32 bytes or more, and can't
/// leave the module. Says too whether it never was outside.
///
/// # Errors
/// When there is no such key, or more than one, or it is not fit. What the module does not say counts against the key,
/// but for its length.
pub(super) fn find(
    session: &Session,
    (token, name): (&str, &str),
) -> Result<(ObjectHandle, bool), ModuleError> {
    let mut found = search(session, name)?;
    let (token, key) = (token.to_owned(), name.to_owned());
    let handle = match (found.pop(), found.len()) {
        (None, _) => return Err(ModuleError::NoKey { token, key }),
        (Some(handle), 0) => handle,
        (Some(_), others) => return Err(ModuleError::SeveralKeys { token, key, count: others + 1 }),
    };
    let traits = look_at(session, handle)?;
    match fault(&traits) {
        Some(fault) => Err(ModuleError::Unfit { key, fault }),
        None => Ok((handle, traits.local && traits.always_sensitive && traits.never_extractable)),
    }
}

/// Makes a secret key called `name` that is fit; there must be none of that name yet.
///
/// # Errors
/// When there is one, or the module does not make it.
pub(super) fn make(session: &Session, (token, name): (&str, &str)) -> Result<(), ModuleError> {
    if !search(session, name)?.is_empty() {
        return Err(ModuleError::KeyPresent { token: token.to_owned(), key: name.to_owned() });
    }
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        // Nothing else may be asked of it: what is derived in the module could be read from there.
        Attribute::Derive(false),
        Attribute::ValueLen(BYTES.into()),
    ];
    template.extend(naming(name));
    if !template.iter().any(|attribute| matches!(attribute, Attribute::Label(_))) {
        template.push(Attribute::Label(b"signet-kek".to_vec()));
    }
    let made = session.generate_key(&Mechanism::GenericSecretKeyGen, &template);
    made.map(drop).map_err(|error| failed(&error))
}

fn search(session: &Session, name: &str) -> Result<Vec<ObjectHandle>, ModuleError> {
    let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(true)];
    template.extend(naming(name));
    session.find_objects(&template).map_err(|error| failed(&error))
}

/// What a key called `name` has: its label, or its identifier.
fn naming(name: &str) -> Option<Attribute> {
    let Some(hex) = name.strip_prefix("id:") else { return Some(Attribute::Label(name.as_bytes().to_vec())) };
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let id: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
    id.map(Attribute::Id)
}

fn look_at(session: &Session, handle: ObjectHandle) -> Result<Traits, ModuleError> {
    let asked = [
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Sign,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Local,
        AttributeType::ValueLen,
    ];
    let mut traits = Traits::default();
    for attribute in session.get_attributes(handle, &asked).map_err(|error| failed(&error))? {
        match attribute {
            Attribute::Sensitive(it) => traits.sensitive = Some(it),
            Attribute::Extractable(it) => traits.extractable = Some(it),
            Attribute::Sign(it) => traits.sign = Some(it),
            Attribute::AlwaysSensitive(it) => traits.always_sensitive = it,
            Attribute::NeverExtractable(it) => traits.never_extractable = it,
            Attribute::Local(it) => traits.local = it,
            Attribute::ValueLen(it) => traits.bytes = Some(it.into()),
            _ => {}
        }
    }
    Ok(traits)
}

fn fault(traits: &Traits) -> Option<&'static str> {
    if traits.extractable != Some(false) {
        return Some("may leave the module (CKA_EXTRACTABLE is not false)");
    }
    if traits.sensitive != Some(true) {
        return Some("can be read in the module (CKA_SENSITIVE is not true)");
    }
    if traits.sign != Some(true) {
        return Some("may not be used for a MAC (CKA_SIGN is not true)");
    }
    traits.bytes.is_some_and(|bytes| bytes < BYTES).then_some("has fewer than 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit() -> Traits {
        let (sensitive, extractable, sign) = (Some(true), Some(false), Some(true));
        Traits { sensitive, extractable, sign, bytes: Some(32), ..Traits::default() }
    }

    #[test]
    fn what_a_module_does_not_say_counts_against_the_key() {
        assert_eq!(fault(&fit()), None);
        assert_eq!(fault(&Traits { bytes: None, ..fit() }), None);
        for wrong in [Some(true), None] {
            assert!(fault(&Traits { extractable: wrong, ..fit() }).unwrap().contains("CKA_EXTRACTABLE"));
        }
        for wrong in [Some(false), None] {
            assert!(fault(&Traits { sensitive: wrong, ..fit() }).unwrap().contains("CKA_SENSITIVE"));
            assert!(fault(&Traits { sign: wrong, ..fit() }).unwrap().contains("CKA_SIGN"));
        }
        assert!(fault(&Traits { bytes: Some(31), ..fit() }).unwrap().contains("fewer than 32"));
    }

    #[test]
    fn a_key_is_named_by_its_label_or_by_its_identifier() {
        assert!(matches!(naming("signet-kek"), Some(Attribute::Label(label)) if label == b"signet-kek"));
        assert!(matches!(naming("id:0aff"), Some(Attribute::Id(id)) if id == [0x0a, 0xff]));
    }
}
