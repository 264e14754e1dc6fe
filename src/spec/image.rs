//! Image files: dormant machines for the catalogue. The format is described in `docs/images.md`.

use std::collections::BTreeMap;

use super::document::{DocumentLimits, Field, Problem, Problems, Table, Value, load};
use super::limits::{LINE_CHARACTERS, NAME_CHARACTERS};
use super::requirement::read_capabilities;
use super::size::ByteSize;
use super::text::{check_line, check_no_nul, required_name};
use super::wish::read_wish;
use crate::model::{Billing, ImageSpec, Login, MOST_SLOTS, Shape, ShapeWish, Span};

/// Time for a boot that does not say: a cold volume needs half a minute, a slow one two.
const DEFAULT_BOOT_TIMEOUT: Span = Span::from_secs(180);

/// Shortest and longest boot that may be waited for: less is a missing unit, more is paid for
/// nothing if it fails.
const LEAST_BOOT_TIMEOUT: Span = Span::from_secs(1);
const MOST_BOOT_TIMEOUT: Span = Span::from_secs(3_600);

/// Most shapes: far above what any provider sells.
const MOST_SHAPES: usize = 256;

/// Largest machine, in processors; guards against slips, not against hardware.
pub(super) const MOST_VCPUS: u32 = 4_096;

/// Reads an image file: its name and what it says.
///
/// # Errors
/// Every problem of the file.
pub fn parse_image(text: &str) -> Result<(String, ImageSpec), Vec<Problem>> {
    const KEYS: [&str; 12] = [
        "name",
        "description",
        "provider",
        "reference",
        "login",
        "shapes",
        "capabilities",
        "ready",
        "probes",
        "boot_timeout",
        "slots",
        "billing",
    ];
    let document = load(text, &DocumentLimits::default())?;
    let mut problems = Problems::default();
    let table = Field::root(&document.root).table(&KEYS, &mut problems);
    let image = table.and_then(|table| read_image(&table, &mut problems));
    problems.finish(image)
}

fn read_image(table: &Table<'_>, problems: &mut Problems) -> Option<(String, ImageSpec)> {
    // Everything is read before the first `?`: a wrong login must not hide a wrong probe.
    let name = required_name("an image", "name", table, problems);
    let provider = required_name("a provider", "provider", table, problems);
    let login = table
        .required("login", problems)
        .and_then(|field| read_login(field, problems));
    let sizes = table
        .required("shapes", problems)
        .and_then(|field| read_sizes(field, problems));
    let capabilities = table.required("capabilities", problems);
    let probes = table
        .get("probes")
        .map(|field| read_probes(field, capabilities, problems));
    let capabilities = capabilities.map(|field| read_capabilities(field, problems));
    let description = table
        .get("description")
        .and_then(|field| read_description(field, problems));
    let ready = table
        .get("ready")
        .and_then(|field| read_command(field, problems));
    let boot_timeout = table.get("boot_timeout").and_then(|field| {
        let range = LEAST_BOOT_TIMEOUT..=MOST_BOOT_TIMEOUT;
        field.parse_within(range, problems)
    });
    let slots = table
        .get("slots")
        .and_then(|field| field.integer(1..=MOST_SLOTS, problems));
    let billing = table
        .get("billing")
        .and_then(|field| read_billing(field, problems));
    let (shapes, wish) = sizes.unzip();
    let spec = ImageSpec {
        description: description.unwrap_or_default(),
        provider: provider?,
        reference: table
            .get("reference")
            .map(|field| field.node().to_json())
            .unwrap_or_default(),
        login: login?,
        shapes: shapes?,
        wish: wish?,
        capabilities: capabilities?,
        ready,
        probes: probes.unwrap_or_default(),
        boot_timeout: boot_timeout.unwrap_or(DEFAULT_BOOT_TIMEOUT),
        slots: slots.unwrap_or(1),
        billing,
    };
    Some((name?, spec))
}

/// In which pieces machine time is billed.
fn read_billing(field: &Field<'_>, problems: &mut Problems) -> Option<Billing> {
    /// A day is the longest piece that any provider bills.
    const MOST: Span = Span::from_secs(24 * 3_600);
    let table = field.table(&["quantum", "minimum"], problems)?;
    let mut read = |key| {
        let field = table.get(key)?;
        field.parse_within(Span::ZERO..=MOST, problems)
    };
    Some(Billing {
        quantum: read("quantum").unwrap_or_default(),
        minimum: read("minimum").unwrap_or_default(),
    })
}

fn read_login(field: &Field<'_>, problems: &mut Problems) -> Option<Login> {
    let table = field.table(&["user"], problems)?;
    let field = table.required("user", problems)?;
    let user = field.text(problems)?;
    check_line("the user", user, NAME_CHARACTERS, field, problems);
    Some(Login {
        user: user.to_owned(),
    })
}

/// The sizes themselves, as a list; or what they must be like, as a map.
fn read_sizes(
    field: &Field<'_>,
    problems: &mut Problems,
) -> Option<(Vec<Shape>, Option<ShapeWish>)> {
    match &field.node().value {
        Value::List(_) => Some((read_shapes(field, problems), None)),
        Value::Map(_) => read_wish(field, problems).map(|wish| (Vec::new(), Some(wish))),
        Value::Scalar(_) => {
            field.expected(
                problems,
                "a list of shapes, or a map of what they must be like",
            );
            None
        }
    }
}

fn read_shapes(field: &Field<'_>, problems: &mut Problems) -> Vec<Shape> {
    let Some(items) = field.list(problems) else {
        return Vec::new();
    };
    if items.is_empty() {
        field.refuse(problems, "there are no shapes; expected at least one");
    } else if items.len() > MOST_SHAPES {
        let count = items.len();
        field.refuse(
            problems,
            format!("{count} shapes; at most {MOST_SHAPES} are accepted"),
        );
    }
    let mut shapes: Vec<Shape> = Vec::new();
    for item in &items {
        let Some(shape) = read_shape(item, problems) else {
            continue;
        };
        if shapes.iter().any(|other| other.name == shape.name) {
            item.refuse(
                problems,
                format!("the shape {} is there already", shape.name),
            );
        }
        shapes.push(shape);
    }
    shapes
}

fn read_shape(field: &Field<'_>, problems: &mut Problems) -> Option<Shape> {
    let table = field.table(&["name", "vcpus", "memory", "price"], problems)?;
    let name = required_name("a shape", "name", &table, problems);
    let vcpus = table.required("vcpus", problems);
    let vcpus = vcpus.and_then(|field| field.integer(1..=MOST_VCPUS, problems));
    let memory = table
        .required("memory", problems)
        .and_then(|field| read_memory(field, problems));
    let price = table
        .required("price", problems)
        .and_then(|field| field.parse(problems));
    Some(Shape {
        name: name?,
        vcpus: vcpus?,
        memory_mib: memory?,
        price_usd_micro_per_hour: price?,
    })
}

fn read_memory(field: &Field<'_>, problems: &mut Problems) -> Option<u32> {
    const MIB: u64 = 1 << 20;
    let ByteSize(bytes) = field.parse(problems)?;
    let whole = (bytes > 0 && bytes.is_multiple_of(MIB)).then_some(bytes / MIB);
    let memory = whole.and_then(|mib| u32::try_from(mib).ok());
    if memory.is_none() {
        field.expected(problems, "a whole number of MiB, as in 512MiB or 4GiB");
    }
    memory
}

/// Probes of capabilities, which must be there to be proved.
fn read_probes(
    field: &Field<'_>,
    capabilities: Option<&Field<'_>>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let claims = match capabilities.map(|field| &field.node().value) {
        Some(Value::Map(entries)) => entries.as_slice(),
        Some(Value::Scalar(_) | Value::List(_)) | None => &[],
    };
    let known: Vec<&str> = claims.iter().map(|claim| claim.key.as_str()).collect();
    let mut probes = BTreeMap::new();
    for (key, field) in field.entries(problems).unwrap_or_default() {
        if !known.contains(&key.text) {
            key.unknown("capability", &known, problems);
        }
        if let Some(command) = read_command(&field, problems) {
            probes.insert(key.text.to_owned(), command);
        }
    }
    probes
}

fn read_command(field: &Field<'_>, problems: &mut Problems) -> Option<String> {
    let command = field.text(problems)?;
    check_no_nul(command, field, problems);
    if command.trim().is_empty() {
        field.refuse(problems, "the command is empty");
    }
    Some(command.to_owned())
}

fn read_description(field: &Field<'_>, problems: &mut Problems) -> Option<String> {
    let text = field.text(problems)?.trim();
    check_line("the description", text, LINE_CHARACTERS, field, problems);
    Some(text.to_owned())
}
