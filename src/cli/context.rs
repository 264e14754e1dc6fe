//! What a command gets to work with: the server, standard output, the environment.

use std::path::{Path, PathBuf};

use super::arguments::Globals;
use super::client::Client;
use super::output::Output;
use super::report::{Outcome, Report, chain, file_error, usage};
use crate::api::view::DocumentProblem;
use crate::cli::exit::Exit;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, ConfigError, ConfigProblem, Environment, Flag, Loaded, Source};
use crate::model::Secret;

/// What a command gets to work with.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) globals: Globals,
    pub(super) output: Output,
    pub(super) environment: Environment,
    directory: PathBuf,
}

impl Context {
    /// For this process.
    pub(super) fn of_this_process(globals: Globals) -> Outcome<Self> {
        let environment = Environment::of_this_process();
        let directory = std::env::current_dir()
            .map_err(|error| usage(format!("cannot tell the working directory: {error}")))?;
        let no_color = environment.get("NO_COLOR").is_some();
        let now = SystemClock.now();
        let output = Output::of_this_process(globals.format(), globals.color, no_color, now);
        Ok(Self {
            globals,
            output,
            environment,
            directory,
        })
    }

    /// The configuration, with these options of the command line over everything else.
    pub(super) fn config(&self, flags: &[Flag]) -> Outcome<Loaded> {
        let file = config::find_file(self.globals.config.as_deref(), &self.environment);
        self.load(file.as_deref(), &self.environment, flags)
    }

    /// The configuration with this file in place of the usual one.
    pub(super) fn config_from(&self, file: &Path) -> Outcome<Loaded> {
        self.load(Some(file), &self.environment, &[])
    }

    /// The configuration that nobody has changed.
    pub(super) fn default_config(&self) -> Outcome<Loaded> {
        let home = ["HOME", "XDG_DATA_HOME"];
        let known = home.map(|name| (name, self.environment.get(name).unwrap_or_default()));
        self.load(None, &Environment::of(known), &[])
    }

    fn load(
        &self,
        file: Option<&Path>,
        environment: &Environment,
        flags: &[Flag],
    ) -> Outcome<Loaded> {
        let loaded = config::load(&config::Sources {
            file,
            environment,
            flags,
            directory: &self.directory,
        });
        Ok(loaded.map_err(config_report)?)
    }

    /// The server to speak to, and the token to show it.
    pub(super) fn client(&self) -> Outcome<Client> {
        let named = self.globals.server.as_deref();
        let server = match named.or_else(|| self.environment.get("DORMOUSE_SERVER")) {
            Some(server) => server.to_owned(),
            None => self.local_server()?,
        };
        Ok(Client::new(&server, self.token(&server)?)?)
    }

    /// The server that the configuration of this host describes.
    fn local_server(&self) -> Outcome<String> {
        let mut address = self.config(&[])?.config.listen;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Ok(format!("http://{address}"))
    }

    /// The token: from the command line, the environment, the user's file, or, for a server on this
    /// host, the file that the server wrote for its own user.
    fn token(&self, server: &str) -> Outcome<Option<Secret>> {
        let given = self.globals.token.as_deref();
        if let Some(token) = given.or_else(|| self.environment.get("DORMOUSE_TOKEN")) {
            return Ok(Some(Secret::new(token.to_owned())));
        }
        let user = self.token_file();
        let local = || {
            let loaded = self.config(&[]).ok()?;
            Some(loaded.config.admin_token_file())
        };
        let local = if Client::is_on_this_host(server) {
            local()
        } else {
            None
        };
        for path in [user, local].into_iter().flatten() {
            match std::fs::read_to_string(&path) {
                Ok(text) => return Ok(Some(Secret::new(text.trim().to_owned()))),
                // Not there, or another user's: there is no token in it for us.
                Err(error)
                    if [
                        std::io::ErrorKind::NotFound,
                        std::io::ErrorKind::PermissionDenied,
                    ]
                    .contains(&error.kind()) => {}
                Err(error) => return Err(file_error("read the token in", &path, &error).into()),
            }
        }
        Ok(None)
    }

    /// Tells a person that a list goes on behind its last row.
    pub(super) fn more(&self, more: bool, limit: u32) {
        if more {
            let double = limit.saturating_mul(2);
            self.output.note(&format!(
                "only the newest {limit}; more with --limit {double}"
            ));
        }
    }

    /// Where a user keeps a token.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        self.environment
            .user_directory("XDG_CONFIG_HOME", ".config")
            .map(|directory| directory.join("dormouse").join("token"))
    }
}

/// A configuration that cannot be used.
pub(super) fn config_report(error: ConfigError) -> Report {
    let report = Report::new(Exit::Usage, "config", chain(&error));
    match error {
        ConfigError::Read { .. } => report,
        ConfigError::Invalid(problems) => Report {
            problems: problems.into_iter().map(document_problem).collect(),
            ..report.hint("`dormouse config show --defaults` lists every setting")
        },
    }
}

fn document_problem(problem: ConfigProblem) -> DocumentProblem {
    let (file, line, column) = match problem.source {
        Source::File { path, line, column } => (path.display().to_string(), line, column),
        source @ (Source::Default | Source::Environment(_) | Source::Flag(_)) => {
            (source.to_string(), 0, 0)
        }
    };
    DocumentProblem {
        file: Some(file),
        line,
        column,
        path: problem.key.unwrap_or_default(),
        message: problem.message,
    }
}
