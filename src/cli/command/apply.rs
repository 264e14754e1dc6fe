//! `dormouse apply`

use std::path::{Path, PathBuf};

use clap::Args;

use crate::api::view::{
    AppliedView, ApplyRequest, ApplyResponse, DeclarationFile, DeclarationKind,
};
use crate::cli::command::parse_word;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, numbers, words};
use crate::cli::report::{Outcome, Report, file_error, usage};

/// Most files at once: a catalogue of hundreds of images fits, a mistyped directory does not.
const MAX_FILES: usize = 1_000;

/// Most directories below one another.
pub(super) const MAX_DEPTH: usize = 8;

/// Make image and policy files current: all of them, or none when one has a problem
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse apply images/ policies/
  dormouse apply images/debian-12.yaml
  dormouse apply --kind image build-box.yaml

Of a directory, every .yaml and .yml file is taken. A file below a directory `images` declares an
image, one below `policies` a policy; --kind says so for files that lie elsewhere. Applying the
same files again changes nothing.

JSON: an array, a row per file: {\"kind\", \"file\", \"name\", \"version\", \"changed\", \"warnings\"}.")]
pub(crate) struct Apply {
    /// Files or directories
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// What the files declare: image, policy
    #[arg(long, value_name = "KIND", value_parser = parse_word::<DeclarationKind>)]
    kind: Option<DeclarationKind>,
}

impl Apply {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let mut files = Vec::new();
        for path in &self.paths {
            collect(path, MAX_DEPTH, &mut files)?;
        }
        if files.is_empty() {
            return Err(usage("no .yaml or .yml file there").into());
        }
        let declarations = files
            .iter()
            .map(|path| declaration(path, self.kind))
            .collect::<Result<Vec<_>, Report>>()?;
        let request = ApplyRequest { declarations };
        let response: ApplyResponse = ctx.client()?.post_json(&["apply"], &request).await?;
        ctx.output.list(&response.items, "files", table)?;
        for one in &response.items {
            for warning in &one.warnings {
                let file = words::printable(&one.file);
                ctx.output
                    .note(&format!("warning: {file}: {}", words::printable(warning)));
            }
        }
        Ok(Exit::Success)
    }
}

/// The files that a path stands for, in order of their names.
pub(super) fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Report> {
    let read = |error: std::io::Error| file_error("read", path, &error);
    if files.len() >= MAX_FILES || depth == 0 {
        let message = format!("more than {MAX_FILES} files or {MAX_DEPTH} levels of directories");
        return Err(usage(message).hint("name the directories that hold images and policies"));
    }
    if !std::fs::metadata(path).map_err(read)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(read)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        let inner = entry.path();
        let is_document = inner
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if !is_hidden && (is_document || inner.is_dir()) {
            collect(&inner, depth - 1, files)?;
        }
    }
    Ok(())
}

pub(super) fn declaration(
    path: &Path,
    kind: Option<DeclarationKind>,
) -> Result<DeclarationFile, Report> {
    let kind = kind.or_else(|| kind_by_place(path)).ok_or_else(|| {
        usage(format!("cannot tell what {} declares", path.display())).hint(
            "put it below a directory `images` or `policies`, or say --kind image or --kind policy",
        )
    })?;
    let text = std::fs::read_to_string(path).map_err(|error| file_error("read", path, &error))?;
    Ok(DeclarationFile {
        kind,
        file: path.display().to_string(),
        text,
    })
}

/// What a file declares by the nearest directory that says so.
pub(super) fn kind_by_place(path: &Path) -> Option<DeclarationKind> {
    let absolute = std::path::absolute(path).ok()?;
    absolute
        .ancestors()
        .skip(1)
        .find_map(|directory| match directory.file_name()?.to_str()? {
            "images" => Some(DeclarationKind::Image),
            "policies" => Some(DeclarationKind::Policy),
            _ => None,
        })
}

/// What was applied, as a table.
pub(crate) fn table(applied: &[AppliedView]) -> Table {
    let mut table = Table::new(&[
        column("FILE", Fit::Shrink),
        column("KIND", Fit::Drop(1)),
        column("NAME", Fit::Whole),
        numbers("VERSION", Fit::Whole),
        column("RESULT", Fit::Whole),
    ]);
    for one in applied {
        let word = if one.changed { "changed" } else { "unchanged" };
        table.row([
            (one.file.clone(), Tone::Plain),
            (one.kind.word().to_owned(), Tone::Plain),
            (one.name.clone(), Tone::Plain),
            (one.version.to_string(), Tone::Plain),
            (word.to_owned(), Tone::of_word(word)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_directory_says_what_a_file_declares() {
        let kind = |path: &str| kind_by_place(Path::new(path));
        assert_eq!(kind("/ci/images/a.yaml"), Some(DeclarationKind::Image));
        assert_eq!(kind("/ci/images/eu/a.yaml"), Some(DeclarationKind::Image));
        assert_eq!(
            kind("/images/policies/a.yaml"),
            Some(DeclarationKind::Policy)
        );
        assert_eq!(kind("/ci/images"), None);
    }

    #[test]
    fn directories_give_their_documents_in_order() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "sub/c.yaml", ".hidden.yaml", "notes.txt"] {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let mut files = Vec::new();
        collect(root.path(), MAX_DEPTH, &mut files).unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|path| path.strip_prefix(root.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["a.yml", "b.yaml", "sub/c.yaml"]);
        assert!(collect(&root.path().join("none"), MAX_DEPTH, &mut files).is_err());
    }
}
