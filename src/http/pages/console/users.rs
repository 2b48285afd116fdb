//! The accounts, and the form of a new one.

use actix_web::{HttpRequest, web};
use askama::Template;

use super::user_form::UserForm;
use super::{administrator, words};
use crate::http::pages::answers::curable;
use crate::http::pages::profile_form::Shown;
use crate::http::pages::shell::{Answered, Form, Notice, Shell, Visitor, after, show};
use crate::http::{State, body};
use crate::protocol::users::PageRequest;
use crate::protocol::{Params, admin, users};
use crate::users::Account;

pub(super) const PLACE: &str = "/console/users";

/// How many accounts are on a page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "console/users.html")]
struct UsersPage<'a> {
    shell: Shell<'a>,
    users: Vec<UserRow>,
    /// How many are skipped on the page before, and on the next.
    before: Option<usize>,
    next: Option<usize>,
}

struct UserRow {
    id: String,
    name: String,
    email: String,
    administrator: bool,
    disabled: bool,
    created: String,
}

#[derive(Template)]
#[template(path = "console/new_user.html")]
struct NewUser<'a> {
    shell: Shell<'a>,
    form: UserForm,
    profile: Shown,
    myself: bool,
}

impl<'a> NewUser<'a> {
    fn of(shell: Shell<'a>, form: UserForm) -> Self {
        let profile = if shell.problem.is_some() { form.refused() } else { form.shown() };
        Self { profile, shell, form, myself: false }
    }
}

impl From<&Account> for UserRow {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id.to_string(),
            name: account.name.clone(),
            email: account.email.to_string(),
            administrator: account.administrator,
            disabled: account.disabled,
            created: words::date(account.created_at),
        }
    }
}

/// A page of the accounts.
pub(in crate::http) async fn list(
    state: web::Data<State>,
    visitor: Visitor,
    request: HttpRequest,
) -> Answered {
    let params = body::form(request.query_string().as_bytes())?;
    let offset = PageRequest::parse(&params)?.page().offset;
    let page = crate::users::Page { limit: PAGE + 1, offset };
    let mut accounts = users::list(&state.services, page).await?;
    let more = accounts.len() > PAGE;
    accounts.truncate(PAGE);
    let template = UsersPage {
        shell: Shell::new(&state, &visitor, PLACE),
        users: accounts.iter().map(UserRow::from).collect(),
        before: (offset > 0).then(|| offset.saturating_sub(PAGE)),
        next: more.then(|| offset + PAGE),
    };
    Ok(show(None, &template))
}

/// The form of a new account.
pub(in crate::http) async fn new(state: web::Data<State>, visitor: Visitor) -> Answered {
    let form = UserForm::read(&Params::default());
    let shell = Shell::new(&state, &visitor, PLACE);
    Ok(show(None, &NewUser::of(shell, form)))
}

/// Makes an account.
pub(in crate::http) async fn register(state: web::Data<State>, visitor: Visitor, form: Form) -> Answered {
    let brought = UserForm::read(&form);
    let request = brought.registration(&form);
    match admin::users::register(&state.services, &administrator(&visitor), request).await {
        Ok(account) => {
            let path = format!("{PLACE}/{}", account.id());
            after(&state, &visitor, (&path, Notice::done("The account is made.")))
        }
        Err(error) => {
            let problem = curable(error)?;
            let shell = Shell::new(&state, &visitor, PLACE).with_problem(Some(&problem));
            Ok(show(Some(&problem), &NewUser::of(shell, brought)))
        }
    }
}
