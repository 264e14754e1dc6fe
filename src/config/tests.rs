//! Loading as a whole: precedence, sources, and every problem at once.

use std::path::Path;

use super::*;

struct Setup<'a> {
    file: Option<&'a str>,
    environment: &'a [(&'a str, &'a str)],
    flags: &'a [(&'a str, &'a str)],
}

impl Setup<'_> {
    fn load(&self) -> Result<Loaded, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dormouse.yaml");
        if let Some(text) = self.file {
            std::fs::write(&path, text).unwrap();
        }
        let home = [("HOME", "/home/me")];
        let environment = Environment::of(home.into_iter().chain(self.environment.iter().copied()));
        let flags: Vec<Flag> = self
            .flags
            .iter()
            .map(|(key, value)| Flag {
                name: format!("--{key}"),
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        load(&Sources {
            file: self.file.map(|_| path.as_path()),
            environment: &environment,
            flags: &flags,
            directory: Path::new("/work"),
        })
    }

    /// The problems, with the file's directory cut off.
    fn problems(&self) -> String {
        match self.load() {
            Err(ConfigError::Invalid(problems)) => problems
                .iter()
                .map(|problem| {
                    let line = problem.to_string();
                    line.find("dormouse.yaml:")
                        .map_or(line.clone(), |start| line[start..].to_owned())
                })
                .collect::<Vec<_>>()
                .join("\n"),
            other => panic!("expected problems, got {other:?}"),
        }
    }
}

const NOTHING: Setup<'_> = Setup {
    file: None,
    environment: &[],
    flags: &[],
};

#[test]
fn without_any_source_every_setting_has_its_default() {
    let loaded = NOTHING.load().unwrap();
    assert_eq!(
        loaded.config.data_dir,
        Path::new("/home/me/.local/share/dormouse")
    );
    assert_eq!(
        loaded.config.store.path,
        Path::new("/home/me/.local/share/dormouse/dormouse.sqlite")
    );
    assert_eq!(loaded.config.listen, "127.0.0.1:8470".parse().unwrap());
    assert!(loaded.config.admin_token.is_none());
    assert!(
        loaded
            .effective
            .iter()
            .all(|setting| setting.source == Source::Default)
    );
}

#[test]
fn every_setting_of_the_table_is_read_into_the_configuration() {
    let unset: Vec<&str> = NOTHING
        .load()
        .unwrap()
        .effective
        .iter()
        .filter(|setting| setting.value.is_none())
        .map(|setting| setting.key)
        .collect();
    assert_eq!(unset, ["admin_token"]);
}

#[test]
fn later_sources_win_and_each_value_knows_its_own() {
    let loaded = Setup {
        file: Some("listen: 127.0.0.1:1\nengine:\n  lease: 1m\n  sweep_interval: 2s\n"),
        environment: &[
            ("DORMOUSE_LISTEN", "127.0.0.1:2"),
            ("DORMOUSE_ENGINE_LEASE", "2m"),
        ],
        flags: &[("listen", "127.0.0.1:3")],
    }
    .load()
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.engine.lease.to_string(), "2m");
    assert_eq!(config.engine.sweep_interval.to_string(), "2s");
    let source = |key: &str| {
        let setting = loaded.effective.iter().find(|setting| setting.key == key);
        setting.unwrap().source.clone()
    };
    assert_eq!(source("listen"), Source::Flag("--listen".to_owned()));
    assert_eq!(
        source("engine.lease"),
        Source::Environment("DORMOUSE_ENGINE_LEASE".to_owned())
    );
    assert!(matches!(
        source("engine.sweep_interval"),
        Source::File {
            line: 4,
            column: 19,
            ..
        }
    ));
    assert_eq!(source("auth"), Source::Default);
}

#[test]
fn relative_paths_count_from_where_they_are_written() {
    let loaded = Setup {
        file: Some("logs: { directory: here }"),
        environment: &[("DORMOUSE_DATA_DIR", "there")],
        flags: &[],
    }
    .load()
    .unwrap();
    assert_eq!(loaded.config.data_dir, Path::new("/work/there"));
    assert_eq!(
        loaded.config.store.path,
        Path::new("/work/there/dormouse.sqlite")
    );
    assert!(loaded.config.logs.directory.ends_with("here"));
    assert!(!loaded.config.logs.directory.starts_with("/work"));
}

#[test]
fn every_problem_of_every_source_is_told_with_its_place() {
    let problems = Setup {
        file: Some(
            "lisen: 127.0.0.1:1\n\
             auth: maybe\n\
             engine:\n\
             \x20 sweep_intervall: 5s\n\
             \x20 lease: 5\n\
             \x20 connect_timeout: [10s]\n\
             provider: { local: { enabled: true } }\n\
             log: debug\n\
             logs:\n\
             store:\n\
             \x20 path:\n\
             data_dir: ~/data\n\
             admin_token: short\n",
        ),
        environment: &[("DORMOUSE_PIPELINES_LOG_LIMIT", "5 apples")],
        flags: &[("set.nothing", "1")],
    }
    .problems();
    insta::assert_snapshot!(problems);
}

#[test]
fn a_wrong_value_shows_even_when_a_later_source_hides_it() {
    let problems = Setup {
        file: Some("listen: everywhere"),
        environment: &[("DORMOUSE_LISTEN", "127.0.0.1:2")],
        flags: &[],
    }
    .problems();
    assert!(
        problems.starts_with("dormouse.yaml:1:9: listen: \"everywhere\""),
        "{problems}"
    );
}

#[test]
fn an_open_server_stays_on_this_host() {
    for listen in ["0.0.0.0:8470", "192.0.2.1:80", "[::]:8470"] {
        let problems = Setup {
            file: None,
            environment: &[("DORMOUSE_AUTH", "open")],
            flags: &[("listen", listen)],
        }
        .problems();
        assert!(
            problems.starts_with("$DORMOUSE_AUTH: auth: open is accepted only"),
            "{problems}"
        );
    }
    for listen in ["127.0.0.1:8470", "[::1]:8470"] {
        let setup = Setup {
            file: None,
            environment: &[("DORMOUSE_AUTH", "open")],
            flags: &[("listen", listen)],
        };
        assert_eq!(setup.load().unwrap().config.auth, Authentication::Open);
    }
}

#[test]
fn what_is_not_yaml_is_told_with_its_place() {
    let problems = Setup {
        file: Some("listen: 127.0.0.1:1\nengine: [\n"),
        ..NOTHING
    }
    .problems();
    assert!(problems.contains("dormouse.yaml:"), "{problems}");
    assert!(
        problems
            .lines()
            .all(|line| line.starts_with("dormouse.yaml:")),
        "{problems}"
    );
    let twice = Setup {
        file: Some("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n"),
        ..NOTHING
    }
    .problems();
    assert!(twice.starts_with("dormouse.yaml:2:1: "), "{twice}");
    for text in ["- listen", "just words", "? [a]\n: b\n"] {
        Setup {
            file: Some(text),
            ..NOTHING
        }
        .problems();
    }
}

#[test]
fn an_empty_file_changes_nothing() {
    for text in ["", "# nothing\n", "---\n", "engine:\n", "~\n"] {
        let loaded = Setup {
            file: Some(text),
            ..NOTHING
        }
        .load();
        assert!(loaded.is_ok(), "{text:?}: {loaded:?}");
    }
}

#[test]
fn without_a_home_only_the_data_directory_is_missing() {
    let environment = Environment::of([]);
    let error = load(&Sources {
        file: None,
        environment: &environment,
        flags: &[],
        directory: Path::new("/"),
    })
    .unwrap_err();
    let ConfigError::Invalid(problems) = error else {
        panic!("{error:?}")
    };
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].key.as_deref(), Some("data_dir"));
}

#[test]
fn what_is_shown_as_yaml_says_the_same_again() {
    let first = Setup {
        file: Some("log: { level: 'info,dormouse::engine=debug' }\nengine: { lease: 90s }"),
        environment: &[("DORMOUSE_ADMIN_TOKEN", "a-token-that-nobody-can-guess")],
        flags: &[("data_dir", "/srv/d: # odd")],
    }
    .load()
    .unwrap();
    let text = yaml(&first.effective).unwrap();
    assert!(!text.contains("guess"), "{text}");
    let again = Setup {
        file: Some(&text),
        ..NOTHING
    }
    .load()
    .unwrap();
    let values = |loaded: &Loaded| -> Vec<(&str, Option<String>)> {
        loaded
            .effective
            .iter()
            .filter(|setting| !setting.is_secret)
            .map(|setting| (setting.key, setting.value.clone()))
            .collect()
    };
    assert_eq!(values(&first), values(&again), "{text}");
    assert!(first.config.admin_token.is_some());
}

#[test]
fn a_stray_variable_is_a_warning() {
    let loaded = Setup {
        environment: &[("DORMOUSE_LISTN", "x"), ("DORMOUSE_TOKEN", "x")],
        ..NOTHING
    }
    .load()
    .unwrap();
    assert_eq!(
        loaded.warnings,
        ["$DORMOUSE_LISTN sets nothing, did you mean $DORMOUSE_LISTEN?"]
    );
}
