//! What is known of a person beyond name and e-mail address, as the portal and the console show it and bring it: the claims of
//! OpenID Connect Core 1.0, sections 5.1 and 5.1.1.

use crate::protocol::Params;
use crate::users::{Address, Profile, ProfileRefusal};

/// A claim in a form.
pub(super) struct Field {
    /// The claim's name, and the field's.
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// The `type` of the input; `lines` for a text of several lines.
    pub(super) kind: &'static str,
    /// What browsers may fill in for the person themselves (HTML Living Standard, section 4.10.18.7.1).
    pub(super) autocomplete: &'static str,
    /// How it is written, where the label does not say it.
    pub(super) hint: &'static str,
    member: fn(&mut Profile) -> &mut Option<String>,
}

/// A profile as the page shows it.
pub(super) struct Shown {
    pub(super) groups: Vec<Group>,
    /// Whether it is the person's own form.
    pub(super) own: bool,
    /// Whether the phone number is known to be theirs.
    pub(super) verified: bool,
    /// The claim that can't be taken as it was brought.
    wrong: Option<&'static str>,
}

impl Shown {
    /// The same, where it is shown again because it can't be taken.
    pub(super) fn refused(self, refusal: Option<ProfileRefusal>) -> Self {
        Self { wrong: refusal.map(ProfileRefusal::claim), ..self }
    }

    /// Whether the problem of the page is with this field.
    pub(super) fn is_wrong(&self, name: &str) -> bool {
        self.wrong == Some(name)
    }
}

/// What belongs together on the page.
pub(super) struct Group {
    pub(super) legend: &'static str,
    pub(super) fields: Vec<Filled>,
}

/// A field with what stands in it.
pub(super) struct Filled {
    pub(super) field: &'static Field,
    pub(super) value: String,
}

const fn field(
    (name, label): (&'static str, &'static str),
    (kind, autocomplete): (&'static str, &'static str),
    hint: &'static str,
    member: fn(&mut Profile) -> &mut Option<String>,
) -> Field {
    Field { name, label, kind, autocomplete, hint, member }
}

fn address(profile: &mut Profile) -> &mut Address {
    profile.address.get_or_insert_default()
}

static GROUPS: [(&str, &[Field]); 4] = [
    (
        "Names",
        &[
            field(("given_name", "Given name"), ("text", "given-name"), "", |own| &mut own.given_name),
            field(("middle_name", "Middle name"), ("text", "additional-name"), "", |own| {
                &mut own.middle_name
            }),
            field(("family_name", "Family name"), ("text", "family-name"), "", |own| &mut own.family_name),
            field(("nickname", "Nickname"), ("text", "nickname"), "", |own| &mut own.nickname),
        ],
    ),
    (
        "Personal",
        &[
            field(
                ("birthdate", "Date of birth"),
                ("text", "bday"),
                "Year, month and day: 1815-12-10",
                |own| &mut own.birthdate,
            ),
            field(("gender", "Gender"), ("text", "sex"), "", |own| &mut own.gender),
            field(("locale", "Language"), ("text", "language"), "By its code: en or en-GB", |own| {
                &mut own.locale
            }),
            field(("zoneinfo", "Time zone"), ("text", "off"), "By its city: Europe/London", |own| {
                &mut own.zoneinfo
            }),
            field(("website", "Website"), ("url", "url"), "", |own| &mut own.website),
            field(("profile", "Profile page"), ("url", "off"), "", |own| &mut own.profile),
            field(("picture", "Picture"), ("url", "photo"), "The address of a picture on the web", |own| {
                &mut own.picture
            }),
        ],
    ),
    (
        "Phone",
        &[field(
            ("phone_number", "Phone number"),
            ("tel", "tel"),
            "With the country: +44 20 7946 0958",
            |own| &mut own.phone_number,
        )],
    ),
    (
        "Postal address",
        &[
            field(("street_address", "Street and number"), ("lines", "street-address"), "", |own| {
                &mut address(own).street_address
            }),
            field(("postal_code", "Postal code"), ("text", "postal-code"), "", |own| {
                &mut address(own).postal_code
            }),
            field(("locality", "Town"), ("text", "address-level2"), "", |own| &mut address(own).locality),
            field(("region", "Region"), ("text", "address-level1"), "", |own| &mut address(own).region),
            field(("country", "Country"), ("text", "country-name"), "", |own| &mut address(own).country),
            field(("formatted", "All of it"), ("lines", "off"), "As it stands on a letter", |own| {
                &mut address(own).formatted
            }),
        ],
    ),
];

/// What a form shows or has brought: texts, not yet believed. A field that was not brought is none.
pub(super) struct ProfileForm(Vec<Option<String>>);

fn fields() -> impl Iterator<Item = &'static Field> {
    GROUPS.iter().flat_map(|(_, fields)| fields.iter())
}

impl ProfileForm {
    /// What is known.
    pub(super) fn of(profile: &Profile) -> Self {
        let mut profile = profile.clone();
        Self(fields().map(|field| Some((field.member)(&mut profile).clone().unwrap_or_default())).collect())
    }

    /// What a form brought, or an empty one.
    pub(super) fn read(params: &Params<'_>) -> Self {
        // A form sends every end of a line as two characters (HTML Living Standard, section 4.10.21.7).
        let text = |text: &str| text.trim().replace("\r\n", "\n");
        Self(fields().map(|field| params.sent(field.name).map(text)).collect())
    }

    /// As the page of the person themselves shows it, or the console's.
    pub(super) fn shown(&self, own: bool, verified: Option<bool>) -> Shown {
        Shown { groups: self.groups(), own, verified: verified == Some(true), wrong: None }
    }

    fn groups(&self) -> Vec<Group> {
        let mut values = self.0.iter();
        let mut filled =
            |field| Filled { field, value: values.next().cloned().flatten().unwrap_or_default() };
        let group = |(legend, fields): &(&'static str, &'static [Field])| Group {
            legend,
            fields: fields.iter().map(&mut filled).collect(),
        };
        GROUPS.iter().map(group).collect()
    }

    /// The profile with what was brought; what was not stays. Whether the phone number is known to be the person's says
    /// `verified`, where whoever brought it may say so; else it stays known as long as it is the same number. A tick that was
    /// there already is the former number's and says nothing of another one; and that there is none says nothing where nothing
    /// was said.
    pub(super) fn onto(&self, before: &Profile, verified: Option<bool>) -> Profile {
        let mut after = before.clone();
        for (field, value) in fields().zip(&self.0) {
            if let Some(value) = value {
                *(field.member)(&mut after) = (!value.is_empty()).then(|| value.clone());
            }
        }
        after.address = after.address.filter(|address| *address != Address::default());
        let is_same = after.phone_number == before.phone_number;
        after.phone_number_verified = match verified {
            _ if after.phone_number.is_none() => None,
            None | Some(false) if is_same && before.phone_number_verified.is_none() => None,
            None if is_same => before.phone_number_verified,
            Some(true) => Some(is_same || before.phone_number_verified != Some(true)),
            None | Some(false) => Some(false),
        };
        after
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn params<'a>(sent: &'a [(&'a str, String)]) -> Params<'a> {
        Params::new(sent.iter().map(|(name, value)| (Cow::from(*name), Cow::from(value)))).unwrap()
    }

    /// Every member of a profile, each with a text of its own.
    fn full() -> Profile {
        let mut profile = Profile { phone_number_verified: Some(true), ..Profile::default() };
        for field in fields() {
            *(field.member)(&mut profile) = Some(format!("{}\n2", field.name));
        }
        profile
    }

    #[test]
    fn every_claim_has_a_field_of_its_name() {
        let serde_json::Value::Object(mut members) = serde_json::to_value(full()).unwrap() else { panic!() };
        assert_eq!(members.remove("phone_number_verified"), Some(true.into()));
        let Some(serde_json::Value::Object(address)) = members.remove("address") else { panic!() };
        let shown = members.into_iter().chain(address);
        let mut shown: Vec<(String, String)> =
            shown.map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect();
        let mut expected: Vec<(String, String)> =
            fields().map(|field| (field.name.to_owned(), format!("{}\n2", field.name))).collect();
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected);
        // A member that is new here has to get a field.
        let Profile {
            given_name,
            family_name,
            middle_name,
            nickname,
            profile,
            picture,
            website,
            gender,
            birthdate,
            zoneinfo,
            locale,
            phone_number,
            phone_number_verified: _,
            address,
        } = full();
        let Address { formatted, street_address, locality, region, postal_code, country } = address.unwrap();
        let texts =
            [given_name, family_name, middle_name, nickname, profile, picture, website, gender, birthdate];
        let others =
            [zoneinfo, locale, phone_number, formatted, street_address, locality, region, postal_code];
        assert!(texts.iter().chain(&others).chain([&country]).all(Option::is_some));
    }

    #[test]
    fn what_is_brought_as_it_was_shown_changes_nothing() {
        for profile in [full(), Profile::default()] {
            let shown = ProfileForm::of(&profile);
            let groups = shown.groups();
            let values = groups
                .iter()
                .flat_map(|group| &group.fields)
                .map(|filled| (filled.field.name, &filled.value));
            let sent: Vec<_> = values.map(|(name, value)| (name, value.replace('\n', "\r\n"))).collect();
            let params = params(&sent);
            assert_eq!(ProfileForm::read(&params).onto(&profile, None), profile);
            assert_eq!(
                ProfileForm::read(&Params::default()).onto(&profile, None),
                profile,
                "nothing was brought"
            );
        }
    }

    #[test]
    fn another_number_is_not_known_to_be_theirs() {
        let form = |number: &str| {
            let sent = [("phone_number", number.to_owned())];
            ProfileForm::read(&params(&sent))
        };
        let before = Profile {
            phone_number: Some("+1 2".into()),
            phone_number_verified: Some(true),
            ..Profile::default()
        };
        for (number, verified, expected) in [
            ("+1 2", None, Some(true)),
            ("+1 3", None, Some(false)),
            ("", None, None),
            ("+1 2", Some(false), Some(false)),
            ("+1 2", Some(true), Some(true)),
            // The tick was there for the number before.
            ("+1 3", Some(true), Some(false)),
            ("", Some(true), None),
        ] {
            assert_eq!(form(number).onto(&before, verified).phone_number_verified, expected, "{number}");
        }
        for known in [None, Some(false)] {
            let before = Profile { phone_number_verified: known, ..before.clone() };
            for (number, verified, expected) in [
                ("+1 2", None, known),
                ("+1 2", Some(false), known),
                ("+1 2", Some(true), Some(true)),
                ("+1 3", None, Some(false)),
                ("+1 3", Some(false), Some(false)),
                ("+1 3", Some(true), Some(true)),
            ] {
                let after = form(number).onto(&before, verified);
                assert_eq!(after.phone_number_verified, expected, "{known:?} {number} {verified:?}");
            }
        }
    }
}
