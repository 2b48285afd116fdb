//! Where what must be remembered is kept: a directory, or a PostgreSQL database named by its URL.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Refusal;
use super::layers::Secrets;
use super::leaf::{Leaf, Wrong};
use super::reader::Reader;
use crate::oauth::Secret;

const PORT: u16 = 5432;
const EXAMPLE: &str =
    "write \"directory\", or, say, \"postgres://signet@db1.example.com,db2.example.com/signet\"";

/// Where what must be remembered is kept.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// In `data_dir`, by this process alone.
    Directory,
    /// In a PostgreSQL database, which other nodes use too.
    Postgres(Box<PostgresConfig>),
}

/// A PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// Names, addresses, or the directories of sockets, each with its port.
    pub hosts: Vec<(String, u16)>,
    /// As whom to enter.
    pub user: String,
    /// Which database.
    pub database: String,
    /// With which password, if one is asked for.
    pub password: Option<PasswordSource>,
    /// Whether the connections are TLS, with the server's certificate verified.
    pub tls: bool,
    /// Certificates in PEM to trust instead of Mozilla's list.
    pub ca_bundle: Option<PathBuf>,
    /// What the server is told at the start of a session (libpq's `options`).
    pub session_options: Option<String>,
    /// How long a call may take in all.
    pub timeout: Duration,
    /// How many connections there may be.
    pub connections: usize,
    /// How many calls may wait for one.
    pub waiting: usize,
}

/// Where the database's password comes from.
#[derive(Clone, Debug)]
pub enum PasswordSource {
    /// The URL, or the environment variable `SIGNET_POSTGRES_PASSWORD`.
    Value(Secret),
    /// A file that holds it.
    File(PathBuf),
}

/// What a URL says of a database. Never printed: a password may be in it.
#[derive(Default)]
struct PostgresUrl {
    hosts: Vec<(String, u16)>,
    user: String,
    database: String,
    password: Option<Secret>,
    mode: Option<String>,
    session_options: Option<String>,
}

pub(super) fn read(reader: &mut Reader, secrets: &Secrets) -> StoreConfig {
    let url = reader.read("store", store_url);
    let file = reader.read_optional("postgres.password_file", |leaf| leaf.text().map(PathBuf::from));
    let ca_bundle = reader.read_optional("postgres.ca_bundle", |leaf| leaf.text().map(PathBuf::from));
    let allow_plaintext = reader.read("postgres.allow_plaintext", Leaf::flag);
    let timeout = reader.read("postgres.timeout", |leaf| {
        leaf.short_duration(&(Duration::from_millis(100)..=Duration::from_secs(30)))
    });
    let connections = reader.read("postgres.connections", connections);
    let waiting = reader.read("postgres.waiting", |leaf| leaf.count(&(0..=1_000_000)));
    let Some(url) = url else { return StoreConfig::Directory };

    let values: Vec<Secret> = url.password.into_iter().chain(secrets.postgres_password.clone()).collect();
    if values.len() + usize::from(file.is_some()) > 1 {
        let reason = "the password is given more than once: by the URL, by SIGNET_POSTGRES_PASSWORD or by \
                      postgres.password_file";
        reader.push(Refusal::new("store", reason, "leave one of them"));
    }
    let password = values.into_iter().next().map(PasswordSource::Value);
    let is_local = url.hosts.iter().all(|(host, _)| is_local(host));
    let tls = match url.mode.as_deref() {
        None => !is_local,
        Some("disable") => false,
        Some("prefer" | "allow") => {
            if !is_local {
                let reason = "lets whoever stands between choose no TLS (sslmode)";
                reader.push(Refusal::new("store", reason, "write sslmode=verify-full"));
            }
            false
        }
        // Never less than all of it.
        Some(_) => true,
    };
    if !tls && !is_local && !allow_plaintext {
        let reason = "would send everything in plain text to another machine";
        let remedy = "write sslmode=verify-full, or set postgres.allow_plaintext = true if a trusted network carries it";
        reader.push(Refusal::new("store", reason, remedy));
    }
    StoreConfig::Postgres(Box::new(PostgresConfig {
        hosts: url.hosts,
        user: url.user,
        database: url.database,
        password: password.or(file.map(PasswordSource::File)),
        tls,
        ca_bundle,
        session_options: url.session_options,
        timeout,
        connections,
        waiting,
    }))
}

/// What may be shown of the setting.
pub(super) fn redacted(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, _)) => format!("\"{}://…\"", scheme.chars().take(20).collect::<String>()),
        None if text == "directory" => "\"directory\"".to_owned(),
        None => "\"…\"".to_owned(),
    }
}

/// One alone can't be: see the pool of the PostgreSQL store.
fn connections(leaf: &Leaf) -> Result<usize, Wrong> {
    leaf.count(&(2..=1000)).map_err(|(reason, remedy)| match leaf.count(&(1..=1)) {
        Ok(_) => (
            "must be 2 at least: one of them never writes, so that what is only read is had while a commit waits for the server"
                .to_owned(),
            "write 2, or more".to_owned(),
        ),
        Err(_) => (reason, remedy),
    })
}

fn store_url(leaf: &Leaf) -> Result<Option<PostgresUrl>, Wrong> {
    match leaf.text()? {
        "directory" => Ok(None),
        text => PostgresUrl::parse(text).map(Some).map_err(|reason| (reason.to_string(), EXAMPLE.to_owned())),
    }
}

/// Why a URL names no database; says nothing of what stands in it but the names of parameters.
#[derive(Debug)]
enum WrongUrl {
    NotPostgres,
    NoHost,
    NoUser,
    NoDatabase,
    Port,
    Encoding,
    Parameter(String),
    Value(&'static str, &'static str),
}

impl fmt::Display for WrongUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPostgres => f.write_str("must be \"directory\" or a URL that begins with postgres://"),
            Self::NoHost => f.write_str("names no host"),
            Self::NoUser => f.write_str("names no user"),
            Self::NoDatabase => f.write_str("names no database"),
            Self::Port => f.write_str("has a port that is none"),
            Self::Encoding => f.write_str("has a percent sign that encodes nothing"),
            Self::Parameter(name) => write!(f, "has the parameter {name:?}, which is not known"),
            Self::Value(name, known) => write!(f, "has a value of {name} other than {known}"),
        }
    }
}

impl PostgresUrl {
    /// libpq's form, `postgres://user:password@host:port,host:port/database?parameter=value`.
    fn parse(text: &str) -> Result<Self, WrongUrl> {
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or(WrongUrl::NotPostgres)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (entrance, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match entrance.split_once(':') {
            Some((user, password)) => (user, Some(Secret::new(decoded(password)?))),
            None => (entrance, None),
        };
        let mut url =
            Self { user: decoded(user)?, database: decoded(database)?, password, ..Self::default() };
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            url.hosts.push(host_and_port(host)?);
        }
        for (name, value) in query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name, decoded(value))
        }) {
            url.parameter(name, value?)?;
        }
        if url.hosts.is_empty() {
            return Err(WrongUrl::NoHost);
        }
        if url.user.is_empty() {
            return Err(WrongUrl::NoUser);
        }
        if url.database.is_empty() {
            return Err(WrongUrl::NoDatabase);
        }
        Ok(url)
    }

    fn parameter(&mut self, name: &str, value: String) -> Result<(), WrongUrl> {
        match name {
            "sslmode" => {
                let known = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
                if !known.contains(&value.as_str()) {
                    return Err(WrongUrl::Value("sslmode", "disable, require, verify-ca and verify-full"));
                }
                self.mode = Some(value);
            }
            // Nothing else would do: a node that can't write can't redeem a code.
            "target_session_attrs" if value == "read-write" || value == "primary" => {}
            "target_session_attrs" => return Err(WrongUrl::Value("target_session_attrs", "read-write")),
            "options" => self.session_options = Some(value),
            // A socket's directory does not fit before the path.
            "host" => self.hosts.push((value, PORT)),
            other => return Err(WrongUrl::Parameter(other.to_owned())),
        }
        Ok(())
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), WrongUrl> {
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without a port ends with its bracket.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| WrongUrl::Port)?),
        _ => (text, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((decoded(host)?, port))
}

fn is_local(host: &str) -> bool {
    host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn decoded(text: &str) -> Result<String, WrongUrl> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (code, after) = rest.split_at_checked(2).ok_or(WrongUrl::Encoding)?;
        let code = std::str::from_utf8(code).ok().and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.ok_or(WrongUrl::Encoding)?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| WrongUrl::Encoding)
}
