//! What is simulated: histories, images and policies from files.

use std::path::{Path, PathBuf};

use super::Simulate;
use crate::api::view::DocumentProblem;
use crate::cli::command::apply::{MAX_DEPTH, collect};
use crate::cli::exit::Exit;
use crate::cli::report::{Report, file_error, usage};
use crate::model::{ImageSpec, PolicySpec, Rate, Shape};
use crate::simulate::Work;
use crate::simulate::catalogue::{make_up, unmet};
use crate::simulate::generate::{Wish, generate, images as generated_images};
use crate::simulate::trace::{Format, Line, Recorded, Trace, TraceError, read, write};
use crate::spec;

/// Needs without an image that are told one by one.
const MOST_UNMET: usize = 5;

/// A history, and what it is played on.
#[derive(Debug)]
pub(super) struct History {
    /// Where it comes from, for people.
    pub(super) source: String,
    pub(super) builds: Vec<Recorded>,
    pub(super) work: Vec<Work>,
    pub(super) images: Vec<(String, ImageSpec)>,
    /// What people should know of it.
    pub(super) notes: Vec<String>,
}

/// A set of policies that hold together.
#[derive(Debug, Clone)]
pub(super) struct PolicySet {
    /// As it was named on the command line.
    pub(super) name: String,
    pub(super) policies: Vec<(String, PolicySpec)>,
}

/// The history that the command line asks for.
pub(super) fn history(asked: &Simulate) -> Result<History, Report> {
    let mut notes = Vec::new();
    let catalogue = catalogue(asked, &mut notes)?;
    let (source, builds) = match (&asked.trace, asked.generate) {
        (Some(path), _) => (
            path.display().to_string(),
            from_file(asked, path, &mut notes)?,
        ),
        (None, Some(length)) => {
            let builds = usize::try_from(asked.builds).unwrap_or(usize::MAX);
            let wish = Wish {
                length,
                builds,
                seed: asked.seed,
            };
            let source = format!("made up, seed {}", asked.seed);
            (source, generate(wish, catalogue.as_deref()))
        }
        (None, None) => return Err(usage("expected --trace FILE or --generate LENGTH")),
    };
    if builds.is_empty() {
        return Err(usage(format!("{source} has no build that ran")));
    }
    if let Some(path) = &asked.write {
        write_history(path, &builds)?;
    }
    let work: Vec<Work> = builds.iter().map(|build| build.work.clone()).collect();
    let images = match catalogue {
        Some(images) => images,
        None => made_up(asked, &work, &mut notes)?,
    };
    check_needs(&images, &work)?;
    Ok(History {
        source,
        builds,
        work,
        images,
        notes,
    })
}

fn from_file(
    asked: &Simulate,
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Recorded>, Report> {
    let text = std::fs::read_to_string(path).map_err(|error| file_error("read", path, &error))?;
    let name = path.display().to_string();
    let format = asked.format.or_else(|| Format::of_file(&name, &text));
    let format = format.ok_or_else(|| {
        let words = Format::ALL.map(Format::word).join(", ");
        usage(format!("cannot tell how {name} is written")).hint(format!("say --format: {words}"))
    })?;
    let Trace {
        builds,
        left_out,
        notes: taken,
    } = match read(&text, format) {
        Ok(trace) => trace,
        Err(error) if asked.skip_bad_lines && !error.good.builds.is_empty() => {
            notes.push(format!("{error}, and left out"));
            error.good
        }
        Err(error) => return Err(bad_lines(&name, error)),
    };
    notes.extend(taken);
    let left_out = left_out.iter().map(|(why, count)| format!("{count} {why}"));
    let left_out: Vec<_> = left_out.collect();
    if !left_out.is_empty() {
        notes.push(format!("left out of the history: {}", left_out.join(", ")));
    }
    Ok(builds)
}

fn bad_lines(file: &str, error: TraceError) -> Report {
    let more = match error.more {
        0 => String::new(),
        more => format!("; here are the first, and {more} more follow"),
    };
    let mut report = Report::new(Exit::Usage, "trace", format!("{error}{more}"))
        .hint("mend them, or leave them out with --skip-bad-lines");
    let problem = |problem: crate::simulate::trace::Problem| DocumentProblem {
        file: Some(file.to_owned()),
        line: u32::try_from(problem.line).unwrap_or(u32::MAX),
        column: 1,
        path: String::new(),
        message: problem.message,
    };
    report.problems = error.problems.into_iter().map(problem).collect();
    report
}

fn write_history(path: &Path, builds: &[Recorded]) -> Result<(), Report> {
    let lines = builds.iter().enumerate();
    let text = write(lines.map(|(place, build)| Line::new(format!("b{place}"), build)));
    let text = text.map_err(|error| {
        Report::new(
            Exit::Failure,
            "trace",
            format!("cannot write a build as JSON: {error}"),
        )
    })?;
    std::fs::write(path, text).map_err(|error| file_error("write", path, &error))
}

/// The images of the command line; a made-up history brings its own.
fn catalogue(
    asked: &Simulate,
    notes: &mut Vec<String>,
) -> Result<Option<Vec<(String, ImageSpec)>>, Report> {
    if asked.images.is_empty() {
        if asked.generate.is_some() {
            notes.push(
                "images: four made up with the history, at $0.09 to $0.34 per hour".to_owned(),
            );
        }
        return Ok(None);
    }
    let mut images = documents(&asked.images, spec::parse_image)?;
    let mut priced = Vec::new();
    for (name, image) in &mut images {
        if image.shapes.is_empty() {
            image.shapes.push(shape(asked.machine_price));
            priced.push(name.clone());
        }
    }
    notes.push(format!("images: {} from files", images.len()));
    if !priced.is_empty() {
        notes.push(format!(
            "no size is listed for {}: taken to cost {} (--machine-price)",
            priced.join(", "),
            asked.machine_price
        ));
    }
    Ok(Some(images))
}

/// A size for images whose provider would find one.
fn shape(price: Rate) -> Shape {
    Shape {
        name: "machine".to_owned(),
        vcpus: 4,
        memory_mib: 8_192,
        price_usd_micro_per_hour: price,
    }
}

fn made_up(
    asked: &Simulate,
    work: &[Work],
    notes: &mut Vec<String>,
) -> Result<Vec<(String, ImageSpec)>, Report> {
    if asked.generate.is_some() {
        return Ok(generated_images());
    }
    let images = make_up(work, asked.machine_price)
        .map_err(|error| usage(error.to_string()).hint("name a catalogue with --images"))?;
    notes.push(format!(
        "images: {} made up, one per distinct set of needs, at {} (--machine-price); --images names \
         real ones",
        images.len(),
        asked.machine_price
    ));
    Ok(images)
}

fn check_needs(images: &[(String, ImageSpec)], work: &[Work]) -> Result<(), Report> {
    let unmet = unmet(images, work);
    if unmet.is_empty() {
        return Ok(());
    }
    let builds: usize = unmet.iter().map(|unmet| unmet.builds).sum();
    let mut report = usage(format!(
        "{builds} builds of the history need what no image has ({} different needs)",
        unmet.len()
    ))
    .hint("add images with --images, or leave --images out to have images made up");
    let problem = |unmet: crate::simulate::catalogue::Unmet| DocumentProblem {
        file: None,
        line: 0,
        column: 0,
        path: format!(
            "{} builds like {:?} need {}",
            unmet.builds, unmet.name, unmet.requires
        ),
        message: unmet.why,
    };
    report.problems = unmet.into_iter().take(MOST_UNMET).map(problem).collect();
    Err(report)
}

/// The sets of policies of the command line; without any, what holds where no policy speaks.
pub(super) fn policy_sets(paths: &[PathBuf]) -> Result<Vec<PolicySet>, Report> {
    if paths.is_empty() {
        return Ok(vec![PolicySet {
            name: "built-in policy".to_owned(),
            policies: Vec::new(),
        }]);
    }
    paths
        .iter()
        .map(|path| {
            Ok(PolicySet {
                name: path.display().to_string(),
                policies: documents(std::slice::from_ref(path), spec::parse_policy)?,
            })
        })
        .collect()
}

/// Reads files, and tells every problem in any of them.
fn documents<T>(
    paths: &[PathBuf],
    parse: impl Fn(&str) -> Result<(String, T), Vec<spec::Problem>>,
) -> Result<Vec<(String, T)>, Report> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, MAX_DEPTH, &mut files)?;
    }
    if files.is_empty() {
        return Err(usage("no .yaml or .yml file there"));
    }
    let mut found: Vec<(String, T)> = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file);
        let text = text.map_err(|error| file_error("read", &file, &error))?;
        let name = file.display().to_string();
        match parse(&text) {
            Ok((own, _)) if found.iter().any(|(other, _)| *other == own) => {
                return Err(usage(format!(
                    "{name}: there is another file that declares {own:?}"
                )));
            }
            Ok(document) => found.push(document),
            Err(all) => problems.extend(all.into_iter().map(|problem| DocumentProblem {
                file: Some(name.clone()),
                line: problem.line,
                column: problem.column,
                path: problem.path,
                message: problem.message,
            })),
        }
    }
    if problems.is_empty() {
        return Ok(found);
    }
    let mut report = Report::new(
        Exit::Usage,
        "invalid",
        format!("{} problems in the documents", problems.len()),
    );
    report.problems = problems;
    Err(report)
}
