//! A secret in every form in which it travels, and so could lie about.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use memchr::memmem::Finder;

use crate::test_app::basic;

/// A form that is shorter could be met by chance.
const SHORTEST: usize = 8;

/// A secret, to be looked for where it must not be.
pub(crate) struct Canary {
    pub(crate) name: String,
    forms: Vec<Finder<'static>>,
}

impl Canary {
    /// # Panics
    /// When it is so short that it would be met by chance.
    pub(crate) fn of(name: &str, secret: impl AsRef<[u8]>) -> Self {
        let secret = secret.as_ref();
        assert!(secret.len() >= SHORTEST, "the {name} is short");
        let mut forms = written(secret);
        // RFC 6749, section 2.3.1 has a client encode its secret as a form would before it goes into the header.
        let packed: Vec<_> = forms.iter().flat_map(|text| in_base64(text)).collect();
        forms.extend(packed);
        forms.extend(in_numbers(secret));
        forms.retain(|form| form.len() >= SHORTEST);
        forms.sort();
        forms.dedup();
        Self {
            name: name.to_owned(),
            forms: forms.iter().map(|form| Finder::new(form).into_owned()).collect(),
        }
    }

    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| form.find(bytes).is_some())
    }

    #[track_caller]
    pub(crate) fn is_absent(&self, place: &str, bytes: &[u8]) {
        assert!(!self.is_in(bytes), "the {} is in {place}", self.name);
    }
}

/// As it is, in a form, in a query, and as Rust shows text and bytes to who debugs; each also in JSON.
fn written(secret: &[u8]) -> Vec<Vec<u8>> {
    let form: String = url::form_urlencoded::byte_serialize(secret).collect();
    let query = form.replace('+', "%20");
    let mut texts = vec![secret.escape_ascii().to_string()];
    texts.extend([with_small_digits(&form), with_small_digits(&query), form, query]);
    if let Ok(text) = str::from_utf8(secret) {
        texts.extend([text.to_owned(), text.escape_debug().to_string(), in_json(text)]);
    }
    let packed: Vec<_> = texts.iter().map(|text| in_json(text)).collect();
    texts.extend(packed);
    let mut written: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    written.push(secret.to_vec());
    written.sort();
    written.dedup();
    written
}

fn in_json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// `%3D` as `%3d`.
fn with_small_digits(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        text.extend(["%", &digits.to_ascii_lowercase(), rest]);
    }
    text
}

/// In hexadecimal digits, and as a list of bytes is shown.
fn in_numbers(secret: &[u8]) -> [Vec<u8>; 3] {
    let hex = hex(secret);
    let list = format!("{secret:?}");
    [hex.to_ascii_uppercase().into_bytes(), hex.into_bytes(), list[1..list.len() - 1].into()]
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The characters that depend on `text` alone, wherever it begins in what is encoded, in both alphabets.
fn in_base64(text: &[u8]) -> Vec<Vec<u8>> {
    // So many bytes before it, and so many characters that those have a part in.
    let places = [(0, 0), (1, 2), (2, 3)];
    let encode = |(before, edge): (usize, usize)| {
        let bytes = [&[0; 2][..before], text].concat();
        let whole = bytes.len() * 8 / 6;
        [STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)]
            .map(|encoded| encoded.as_bytes()[edge..whole].to_vec())
    };
    places.into_iter().flat_map(encode).collect()
}

/// One with all that needs an escape somewhere, one of a person's, one that a client or a cookie has.
const SECRETS: [&str; 3] =
    ["a=b&c \"d\"\\e+f/g?é\n~h", "correct horse battery", "Zx8_q-3vT0pLr~5mK2nB7wY1cD4eF6gH9jA.sUiO"];

#[test]
fn a_secret_is_found_in_every_form_in_which_it_travels() {
    for secret in SECRETS {
        let canary = Canary::of("secret", secret);
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let query = encoded.replace('+', "%20");
        let hex = hex(secret.as_bytes()).to_ascii_uppercase();
        let json = serde_json::json!({ "password": secret }).to_string();
        let mut places = vec![
            format!("client_id=shop&client_secret={encoded}&scope=read"),
            format!("GET /oauth/token?client_secret={query} HTTP/1.1"),
            format!("GET /oauth/token?client_secret={} HTTP/1.1", with_small_digits(&query)),
            serde_json::json!({ "body": json }).to_string(),
            serde_json::json!({ "message": format!("Credentials({secret:?})") }).to_string(),
            URL_SAFE.encode(&json),
            json,
            format!("Credentials({secret:?})"),
            format!("body={:?}", secret.as_bytes()),
            format!("body={:?}", bytes::Bytes::copy_from_slice(format!("secret={secret}").as_bytes())),
            format!("\\x{hex}"),
            hex.to_ascii_lowercase(),
        ];
        for id in ["a", "ab", "abc", "shop", "0198c5f2-7d1e-7a55-9c8e-1b2d3f405162", "a:b"] {
            places.push(format!("{:?}", basic((id, secret))));
            places.push(format!("{:?}", basic((id, &encoded))));
        }
        for place in places {
            assert!(canary.is_in(place.as_bytes()), "{secret:?} is not seen in {place}");
        }
    }
}

#[test]
fn a_secret_is_found_at_every_offset() {
    for secret in SECRETS {
        let canary = Canary::of("secret", secret);
        for before in 0..20 {
            for after in 0..4 {
                let lies = [&vec![0xfb; before][..], secret.as_bytes(), &vec![0xff; after]].concat();
                let hex = hex(&lies);
                for place in [
                    &lies,
                    STANDARD.encode(&lies).as_bytes(),
                    URL_SAFE.encode(&lies).as_bytes(),
                    hex.as_bytes(),
                ] {
                    assert!(canary.is_in(place), "{secret:?} is not seen behind {before} bytes: {place:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let text = "grant_type=client_credentials&client_id=shop&client_secret=another+horse+battery";
    for secret in SECRETS {
        let canary = Canary::of("secret", secret);
        // One character is another.
        let middle = secret.char_indices().nth(secret.chars().count() / 2).unwrap().0;
        let other = format!("{}X{}", &secret[..middle], &secret[middle + 1..]);
        for bytes in [text, &other, &secret[..middle], ""] {
            let (_, header) = basic(("shop", bytes));
            for place in [bytes.as_bytes(), header.as_bytes(), format!("{:?}", bytes.as_bytes()).as_bytes()] {
                canary.is_absent("another text", place);
            }
        }
    }
}
