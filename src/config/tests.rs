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
    let unset: Vec<String> = NOTHING
        .load()
        .unwrap()
        .effective
        .iter()
        .filter(|setting| setting.value.is_none() && !setting.is_template)
        .map(|setting| setting.key.clone())
        .collect();
    let expected = [
        "admin_token",
        "logs.store",
        "logs.endpoint_url",
        "logs.region",
    ];
    assert_eq!(unset, expected);
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
        file: Some(
            "log: { level: 'info,dormouse::engine=debug' }\n\
             engine: { lease: 90s, launch_failure_cost: $1.5 }\n\
             logs: { store: 's3://my-logs/ci' }\n\
             providers: { ec2: { cloud: { region: x-1, subnets: [a-1, b-2] }, other: \
             { region: x-2, subnets: c-3, jump_host: 'me@[::1]', jump_key: key, \
             jump_host_key: 'ssh-ed25519 \
             AAAAC3NzaC1lZDI1NTE5AAAAIIagP2c8VeNt4fc5Vvfe2ynSTqSblm1XgN8TjJ8Tlq8a' } } }\n",
        ),
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
    let values = |loaded: &Loaded| -> Vec<(String, Option<String>)> {
        loaded
            .effective
            .iter()
            .filter(|setting| !setting.is_secret)
            .map(|setting| (setting.key.clone(), setting.value.clone()))
            .collect()
    };
    assert_eq!(values(&first), values(&again), "{text}");
    assert!(first.config.admin_token.is_some());
    assert_eq!(first.config.providers, again.config.providers);
}

const CLOUD: &str = "providers:\n  ec2:\n    my-cloud:\n      region: eu-central-1\n      subnets: [subnet-1, subnet-2]\n";

#[test]
fn a_provider_of_ec2_needs_a_region_and_subnets_only() {
    let loaded = Setup {
        file: Some(CLOUD),
        ..NOTHING
    }
    .load()
    .unwrap();
    let cloud = &loaded.config.providers.ec2["my-cloud"];
    assert_eq!(cloud.region, "eu-central-1");
    assert_eq!(cloud.subnets, ["subnet-1", "subnet-2"]);
    assert_eq!(cloud.security_groups, [""; 0]);
    assert_eq!(
        (cloud.ssh_port, cloud.address),
        (22, AddressChoice::Private)
    );
    assert_eq!(cloud.metadata_url, "http://169.254.169.254");
    assert_eq!((&cloud.jump, &cloud.installation), (&None, &None));
    let shown = |key: &str| {
        let setting = loaded.effective.iter().find(|setting| setting.key == key);
        setting.unwrap()
    };
    let subnets = shown("providers.ec2.my-cloud.subnets");
    assert_eq!(subnets.value.as_deref(), Some("subnet-1, subnet-2"));
    assert_eq!(subnets.variable, "DORMOUSE_PROVIDERS_EC2_MY_CLOUD_SUBNETS");
    let is_template = |setting: &&Effective| setting.is_template;
    assert_eq!(loaded.effective.iter().find(is_template), None);
}

#[test]
fn a_provider_of_ec2_has_all_of_its_settings() {
    let loaded = Setup {
        file: Some(
            "providers: { ec2: { c: { region: r, subnets: s, security_groups: [g1, g2], \
             profile: p, role: 'arn:aws:iam::123456789012:role/x', endpoint_url: 'http://e:1', \
             installation: inst, instance_profile: ip, address: both, ssh_port: 2222, \
             jump_host: 'me@b:23', jump_key: keys/jump, jump_host_key: 'ssh-ed25519 \
             AAAAC3NzaC1lZDI1NTE5AAAAIIagP2c8VeNt4fc5Vvfe2ynSTqSblm1XgN8TjJ8Tlq8a', \
             interruption_queue: 'https://q/1', metadata_url: 'http://{address}:1338', \
             poll_interval: 5s } } }",
        ),
        environment: &[("DORMOUSE_PROVIDERS_EC2_C_SECURITY_GROUPS", "g3,g4")],
        flags: &[],
    }
    .load()
    .unwrap();
    let config = &loaded.config.providers.ec2["c"];
    assert_eq!(config.security_groups, ["g3", "g4"]);
    assert_eq!(config.profile.as_deref(), Some("p"));
    assert_eq!(
        config.role.as_deref(),
        Some("arn:aws:iam::123456789012:role/x")
    );
    assert_eq!(config.endpoint_url.as_deref(), Some("http://e:1"));
    assert_eq!(config.installation.as_deref(), Some("inst"));
    assert_eq!(config.instance_profile.as_deref(), Some("ip"));
    assert_eq!(
        (config.address, config.ssh_port),
        (AddressChoice::Both, 2222)
    );
    assert_eq!(config.interruption_queue.as_deref(), Some("https://q/1"));
    assert_eq!(config.metadata_url, "http://{address}:1338");
    assert_eq!(config.poll_interval.to_string(), "5s");
    let jump = config.jump.as_ref().unwrap();
    let JumpAddress { user, host, port } = &jump.address;
    assert_eq!((user.as_str(), host.as_str(), *port), ("me", "b", 23));
    assert!(jump.key.is_absolute() && jump.key.ends_with("keys/jump"));
    assert!(jump.load().is_err(), "there is no such file");
}

#[test]
fn every_problem_of_every_provider_is_told_with_its_place() {
    let problems = Setup {
        file: Some(
            "providers:\n\
             \x20 ec2:\n\
             \x20   my_cloud: { region: x }\n\
             \x20   local: { region: x }\n\
             \x20   empty:\n\
             \x20   scalar: eu-central-1\n\
             \x20   wrong:\n\
             \x20     regoin: eu-central-1\n\
             \x20     region: eu central 1\n\
             \x20     subnets:\n\
             \x20       - subnet-1\n\
             \x20       - subnet 2\n\
             \x20     security_groups: [[sg-1]]\n\
             \x20     address: elastic\n\
             \x20     ssh_port: 70000\n\
             \x20     role: admin\n\
             \x20     jump_host: bastion\n\
             \x20   half:\n\
             \x20     region: x\n\
             \x20     subnets: { a: b }\n\
             \x20     jump_host: me@bastion\n\
             logs:\n\
             \x20 region: x\n\
             engine: { launch_failure_cost: 1 euro, capacity_wait: 1s }\n",
        ),
        environment: &[("DORMOUSE_PROVIDERS_EC2_WRONG_POLL_INTERVAL", "1")],
        flags: &[("providers.ec2.half.jump_kee", "x")],
    }
    .problems();
    insta::assert_snapshot!(problems);
}

#[test]
fn a_variable_that_could_mean_two_providers_is_refused() {
    let file = "providers: { ec2: { a: { region: x, subnets: y }, A: { region: x, subnets: y } } }";
    let problems = Setup {
        file: Some(file),
        environment: &[("DORMOUSE_PROVIDERS_EC2_A_REGION", "z")],
        flags: &[],
    }
    .problems();
    assert_eq!(
        problems,
        "$DORMOUSE_PROVIDERS_EC2_A_REGION: may mean providers.ec2.A.region or \
         providers.ec2.a.region: rename one of the sections"
    );
}

#[test]
fn the_environment_names_no_provider() {
    let loaded = Setup {
        environment: &[("DORMOUSE_PROVIDERS_EC2_A_REGION", "x")],
        ..NOTHING
    }
    .load()
    .unwrap();
    assert!(loaded.config.providers.ec2.is_empty());
    let expected = "$DORMOUSE_PROVIDERS_EC2_A_REGION sets nothing, the file names no such section";
    assert_eq!(loaded.warnings, [expected]);
}

#[test]
fn there_is_a_limit_to_providers() {
    let providers: Vec<String> = (0..17)
        .map(|number| format!("    p{number:02}: {{ region: x, subnets: y }}\n"))
        .collect();
    let providers = providers.concat();
    let problems = Setup {
        file: Some(&format!("providers:\n  ec2:\n{providers}")),
        ..NOTHING
    }
    .problems();
    assert_eq!(
        problems,
        "dormouse.yaml:19:5: providers.ec2: there are more than 16 providers"
    );
}

#[test]
fn without_a_provider_its_settings_are_shown_as_comments() {
    let loaded = NOTHING.load().unwrap();
    let text = yaml(&loaded.effective).unwrap();
    assert!(text.contains("\n    # NAME:\n"), "{text}");
    assert!(text.contains("\n      # region:"), "{text}");
    let again = Setup {
        file: Some(&text),
        ..NOTHING
    }
    .load()
    .unwrap();
    assert!(again.config.providers.ec2.is_empty());
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
