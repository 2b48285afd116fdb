//! The built binary as a process of its own, spoken to over real sockets.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long it may take to serve, and then to be ready: what takes longer never comes.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A running service; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) issuer: String,
    /// What it printed until it was ready.
    pub(crate) banner: String,
    /// Where it says whether it is ready.
    pub(crate) management: String,
    agent: ureq::Agent,
    /// The lines that it printed since.
    said: Mutex<Receiver<String>>,
}

/// An answer over the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// It says to ask again later, and did nothing: `Retry-After` beside 503 (RFC 9110, section 15.6.4).
    pub(crate) ask_again: bool,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

/// The built binary, or the one that `SIGNET_BIN` names, as a release build.
fn binary() -> Command {
    // It is started in another directory.
    let named = std::env::var_os("SIGNET_BIN").map(|name| std::fs::canonicalize(name).expect("SIGNET_BIN"));
    Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_signet").into()))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("an address").port()
}

impl Process {
    /// Starts the service on `port` with everything under `dir`, and waits until it serves.
    pub(crate) fn start(dir: &Path, port: u16, settings: &[(&str, &str)]) -> Self {
        Self::start_to(dir, port, settings, Stdio::inherit())
    }

    /// The same, with its log to `log`.
    pub(crate) fn start_to(dir: &Path, port: u16, settings: &[(&str, &str)], log: Stdio) -> Self {
        let issuer = format!("http://127.0.0.1:{port}");
        let management = format!("127.0.0.1:{}", free_port());
        let mut command = binary();
        command
            .current_dir(dir)
            .env_clear()
            .env("SIGNET_LISTEN", format!("127.0.0.1:{port}"))
            .env("SIGNET_MANAGEMENT_LISTEN", &management)
            .env("SIGNET_LOG__FILTER", "warn")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().expect("the binary starts");
        let out = BufReader::new(child.stdout.take().expect("stdout"));
        let (tell, said) = channel();
        // The service never waits for its output to be read.
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).for_each(|line| {
                tell.send(line).ok();
            });
        });
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build();
        let mut service = Self {
            child,
            issuer,
            banner: String::new(),
            management,
            agent: config.into(),
            said: Mutex::new(said),
        };
        // The banner ends with an empty line after its last command, or is one line on a later start.
        loop {
            let line = service.said.get_mut().expect("whole").recv_timeout(PATIENCE).unwrap_or_else(|why| {
                panic!("it does not serve ({why}); what it said until then: {:?}", service.banner)
            });
            service.banner.push_str(&line);
            service.banner.push('\n');
            if line.contains("/admin/keys/rotate")
                || (line.starts_with("Signet serves") && dir.join("seen").exists())
            {
                break;
            }
        }
        std::fs::write(dir.join("seen"), "").expect("a marker");
        service
    }

    /// The secret that stands behind `role` in the banner, with its client's identifier.
    pub(crate) fn credentials(&self, role: &str) -> (String, String) {
        let mut lines = self.banner.lines().skip_while(|line| !line.contains(role));
        let mut last =
            || lines.next().and_then(|line| line.split_whitespace().last()).expect("shown").to_owned();
        (last(), last())
    }

    pub(crate) fn post(&self, path: &str, form: &[(&str, &str)]) -> Option<Reply> {
        let sent = self.agent.post(format!("{}{path}", self.issuer)).send_form(form.iter().copied());
        Self::reply(sent)
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Option<Reply> {
        self.get_with(path, ("Authorization", &format!("Bearer {token}")))
    }

    pub(crate) fn get_with(&self, path: &str, (header, value): (&str, &str)) -> Option<Reply> {
        let request = self.agent.get(format!("{}{path}", self.issuer));
        Self::reply(request.header(header, value).call())
    }

    /// Asks it until it says that it is ready; fails when it has ended, or is not ready in a time that is beyond any machine.
    #[expect(clippy::disallowed_methods, reason = "the process has the system's clock")]
    pub(crate) fn await_ready(&mut self) {
        let begun = Instant::now();
        loop {
            let answer =
                Self::reply(self.agent.get(format!("http://{}/health/ready", self.management)).call());
            if answer.as_ref().is_some_and(|answer| answer.status == 200) {
                return;
            }
            let ended = self.child.try_wait().expect("asked");
            assert!(ended.is_none(), "it ended before it was ready: {ended:?}");
            assert!(
                begun.elapsed() < PATIENCE,
                "it is not ready after {PATIENCE:?}; it last said {answer:?}"
            );
        }
    }

    pub(crate) fn post_json(&self, path: &str, token: &str, body: &Value) -> Option<Reply> {
        let request = self.agent.post(format!("{}{path}", self.issuer));
        let request = request.header("Authorization", format!("Bearer {token}"));
        Self::reply(request.header("Content-Type", "application/json").send(body.to_string()))
    }

    /// `None` when the connection broke before the answer was whole.
    fn reply(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<Reply> {
        let mut response = sent.ok()?;
        let status = response.status().as_u16();
        let ask_again = status == 503 && response.headers().contains_key("retry-after");
        Some(Reply { status, body: response.body_mut().read_to_string().ok()?, ask_again })
    }

    /// The first answer that is not to ask again: where a machine is so busy that the service got no core for a while, it has not failed.
    #[expect(clippy::disallowed_methods, reason = "the process has the system's clock")]
    pub(crate) fn insist(&self, ask: impl Fn(&Self) -> Option<Reply>) -> Option<Reply> {
        let begun = Instant::now();
        loop {
            let reply = ask(self)?;
            if !reply.ask_again {
                return Some(reply);
            }
            assert!(begun.elapsed() < PATIENCE, "after {PATIENCE:?} it still says {reply:?}");
        }
    }

    /// An access token by client credentials.
    pub(crate) fn token(&self, (id, secret): (&str, &str)) -> Option<String> {
        let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        let reply = self.insist(|service| service.post("/oauth2/token", &form))?;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["access_token"].as_str().map(str::to_owned)
    }

    /// What `signet doctor` finds, run beside it with the same settings.
    pub(crate) fn doctor(&self, dir: &Path, settings: &[(&str, &str)]) -> Value {
        let mut command = binary();
        let listen = self.issuer.trim_start_matches("http://");
        command.args(["doctor", "--json"]).current_dir(dir).env_clear().envs(settings.iter().copied());
        command.env("SIGNET_LISTEN", listen).env("SIGNET_MANAGEMENT_LISTEN", &self.management);
        let output = command.output().expect("the binary starts");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {output:?}"))
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) fn kill_now(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    }

    /// Name, scheduling policy and niceness of each of its threads.
    pub(crate) fn threads(&self) -> Vec<(String, i64, i64)> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        let read = |stat: String| {
            // The name is in parentheses and may hold some; the niceness is the 17th after it, the policy the 39th (proc(5)).
            let (name, rest) = stat.rsplit_once(") ").expect("a name");
            let number = |at| rest.split(' ').nth(at).and_then(|text| text.parse().ok()).expect("a number");
            (name.split_once('(').expect("a name").1.to_owned(), number(38), number(16))
        };
        stats.map(read).collect()
    }

    /// The exit code, once it has ended by itself.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().expect("reaped").code()
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(self) -> Option<i32> {
        self.terminate_and_hear().0
    }

    /// The same, and what it printed since it was ready.
    pub(crate) fn terminate_and_hear(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
        let code = self.child.wait().expect("reaped").code();
        (code, self.said.get_mut().expect("whole").iter().collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
