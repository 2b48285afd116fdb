use actix_web::{HttpResponse, web};
use askama::Template;

use super::{curable, words};
use crate::http::State;
use crate::http::pages::fields;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::protocol::portal;
use crate::users::Account;

pub(super) const PLACE: &str = "/account";

#[derive(Template)]
#[template(path = "portal/profile.html")]
struct Profile<'a> {
    shell: Shell<'a>,
    account: &'a Account,
    /// Whether the person may change the e-mail address.
    change_email: bool,
    since: String,
    /// As it stands in the form.
    name: &'a str,
}

/// What is known of the person.
pub(in crate::http) async fn get(state: web::Data<State>, visitor: Visitor) -> Answered {
    Ok(page(&state, &visitor, &visitor.present.account.name, None))
}

/// Changes the name.
pub(in crate::http) async fn act(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let name = fields::text(&form, "name");
    match portal::rename(&state.services, &visitor.present, name.clone()).await {
        Ok(()) => after(&state, &visitor, (PLACE, Notice::done("Your name is changed."))),
        Err(error) => Ok(page(&state, &visitor, &name, Some(&curable(error)?))),
    }
}

fn page(state: &State, visitor: &Visitor, name: &str, problem: Option<&str>) -> HttpResponse {
    let account = &visitor.present.account;
    let shell = Shell::new(state, visitor, PLACE).with_problem(problem);
    show(
        problem,
        &Profile {
            shell,
            account,
            change_email: state.change_email,
            since: words::date(account.created_at),
            name,
        },
    )
}
