use actix_web::{HttpResponse, web};
use askama::Template;

use super::{curable, words};
use crate::http::State;
use crate::http::pages::fields;
use crate::http::pages::profile_form::{ProfileForm, Shown};
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::protocol::portal::{self, ProfileChange};
use crate::users::{Account, ProfileRefusal};

pub(super) const PLACE: &str = "/account";

#[derive(Template)]
#[template(path = "portal/profile.html")]
struct ProfilePage<'a> {
    shell: Shell<'a>,
    account: &'a Account,
    /// Whether the person may change the e-mail address.
    change_email: bool,
    since: String,
    version: String,
    /// As it stands in the form.
    name: &'a str,
    profile: Shown,
}

/// What is known of the person.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    Ok(page(&state, &visitor, None, None))
}

/// Changes the name and what else is known.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let account = &visitor.present.account;
    let brought = (fields::text(&form, "name"), ProfileForm::read(&form));
    let of_version = form.one("version").map(fields::of_version).transpose()?;
    let is_stale = of_version.is_some_and(|version| version != account.changed_at());
    let change = ProfileChange {
        name: brought.0.clone(),
        // Whether a number is theirs is not theirs to say.
        profile: brought.1.onto(&account.profile, None),
        of_version: of_version.unwrap_or_else(|| account.changed_at()),
    };
    match portal::change_profile(&state.services, &visitor.present, change).await {
        Ok(()) => after(&state, &visitor, (PLACE, Notice::done("Your profile is changed."))),
        // What was changed meanwhile is shown, not undone.
        Err(error) => Ok(page(&state, &visitor, Some(brought).filter(|_| !is_stale), Some(&curable(error)?))),
    }
}

/// The page, with the form as it was brought if it was.
fn page(
    state: &State,
    visitor: &Visitor,
    brought: Option<(String, ProfileForm)>,
    problem: Option<&str>,
) -> HttpResponse {
    let account = &visitor.present.account;
    let refused = brought.as_ref().filter(|_| problem.is_some());
    let refused =
        refused.and_then(|(name, profile)| ProfileRefusal::of(name, &profile.onto(&account.profile, None)));
    let shown = || (account.name.clone(), ProfileForm::of(&account.profile));
    let (name, profile) = brought.unwrap_or_else(shown);
    let template = ProfilePage {
        shell: Shell::new(state, visitor, PLACE).with_problem(problem),
        account,
        change_email: state.change_email,
        since: words::date(account.created_at),
        version: fields::version(account.changed_at()),
        name: &name,
        profile: profile.shown(true, account.profile.phone_number_verified).refused(refused),
    };
    show(problem, &template)
}
