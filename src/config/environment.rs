//! The one place that reads environment variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Environment variables, as they were when the process started.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Of this process.
    ///
    /// Text that is not UTF-8 keeps replacement characters, which no path accepts.
    pub fn of_this_process() -> Self {
        let text = |part: std::ffi::OsString| part.to_string_lossy().into_owned();
        Self {
            variables: std::env::vars_os()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
        }
    }

    /// Of these variables only.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// The value of a variable; an empty one counts as unset, as shells make it hard to unset one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Names of the variables that are set and begin with `prefix`.
    pub fn names_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.variables
            .iter()
            .filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty())
            .map(|(name, _)| name.as_str())
    }

    /// The directory of one kind of a user's files: `variable` when it holds an absolute path, as
    /// the XDG base directory specification wants it, else `below_home` in the home directory.
    pub fn user_directory(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let set = self.get(variable).map(PathBuf::from);
        set.filter(|path| path.is_absolute()).or_else(|| {
            let home = PathBuf::from(self.get("HOME")?);
            home.is_absolute().then(|| home.join(below_home))
        })
    }
}

impl std::fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_directories_follow_the_specification() {
        let directory = |variables: &[(&str, &str)]| {
            Environment::of(variables.iter().copied())
                .user_directory("XDG_DATA_HOME", ".local/share")
        };
        let home = ("HOME", "/home/me");
        assert_eq!(
            directory(&[("XDG_DATA_HOME", "/data"), home]),
            Some("/data".into())
        );
        assert_eq!(
            directory(&[("XDG_DATA_HOME", "relative"), home]),
            Some("/home/me/.local/share".into())
        );
        assert_eq!(directory(&[]), None);
    }

    #[test]
    fn debug_shows_no_values() {
        let environment = Environment::of([("DORMOUSE_TOKEN", "hunter2")]);
        assert_eq!(format!("{environment:?}"), r#"{"DORMOUSE_TOKEN"}"#);
    }
}
