//! YAML events to a tree.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::printable::{quoted, shortened};
use super::problem::{Place, Problem, Problems};
use super::source::Source;
use super::tree::{Entry, Node, Scalar, Style, Value};

/// How big a document may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Longest text, in bytes.
    pub bytes: usize,
    /// Deepest nesting of lists and maps.
    pub depth: usize,
    /// Most nodes, those that aliases repeat included.
    pub nodes: usize,
    /// Most bytes of text that anchors and aliases may copy: what bounds `billion laughs`.
    pub copied_bytes: usize,
}

impl Default for DocumentLimits {
    /// 1 MiB is a hundred times the longest pipelines seen in public; 32 levels are four times
    /// what any of our documents has; 200,000 nodes are a dense document of that size; aliases may
    /// repeat four times its length.
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            depth: 32,
            nodes: 200_000,
            copied_bytes: 4 << 20,
        }
    }
}

/// A document: its text and its root.
#[derive(Debug)]
pub struct Document<'t> {
    /// The text, to be looked into by place.
    pub source: Source<'t>,
    /// The root.
    pub root: Node,
}

/// Reads one YAML document.
///
/// # Errors
/// Every problem of its structure; after one of its syntax, nothing more can be known.
pub fn load<'t>(text: &'t str, limits: &DocumentLimits) -> Result<Document<'t>, Vec<Problem>> {
    let mut problems = Problems::default();
    if text.len() > limits.bytes {
        let message = format!(
            "the document has {} bytes; at most {} are accepted",
            text.len(),
            limits.bytes
        );
        problems.add(Place::START, "", message);
        return Err(problems.into_vec());
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(text);
    let mut loader = Loader::new(*limits, problems);
    if let Err(stop) = loader.run(Parser::new_from_str(text)) {
        let message = stop.message(&source);
        loader.problems.add(stop.place(), "", message);
    }
    let Loader { root, problems, .. } = loader;
    let root = problems.finish(root)?;
    Ok(Document { source, root })
}

/// Longest message of the parser that is passed on, in characters.
const MESSAGE_CHARACTERS: usize = 200;

/// Why loading cannot go on.
enum Stop {
    /// The text is not YAML.
    Syntax(ScanError),
    /// A limit is reached.
    Limit(Place, String),
}

/// A list or map whose end has not been seen.
struct Open {
    place: Place,
    anchor: usize,
    value: Value,
    /// Keys of a map that were seen, with their places.
    seen: BTreeMap<String, Place>,
    /// In a map: the key whose value comes next.
    key: Option<(PendingKey, Place)>,
}

enum PendingKey {
    Text(String),
    /// It was refused; its value is dropped.
    Refused,
}

struct Loader {
    limits: DocumentLimits,
    problems: Problems,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    copied_bytes: usize,
    documents: usize,
    root: Option<Node>,
}

impl Loader {
    fn new(limits: DocumentLimits, problems: Problems) -> Self {
        Self {
            limits,
            problems,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
            copied_bytes: 0,
            documents: 0,
            root: None,
        }
    }

    fn run(&mut self, mut parser: Parser<'_, StrInput<'_>>) -> Result<(), Stop> {
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(Stop::Syntax)?;
            self.take(event, span)?;
            if self.documents > 1 {
                return Ok(());
            }
        }
        if self.documents == 0 {
            self.problems.add(Place::START, "", "the document is empty");
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let place = place_of(span.start);
        match event {
            Event::DocumentStart(_) => self.begin_document(place),
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), place);
                self.begin(place, anchor, Value::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), place);
                self.begin(place, anchor, Value::Map(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Scalar(text, style, anchor, tag) => {
                let style = style_of(style, tag.is_some());
                self.check_tag(tag.as_deref(), place);
                self.count(1, place)?;
                let text = text.into_owned();
                let value = Value::Scalar(Scalar { text, style });
                let end = place_of(span.end);
                self.finish(Node { place, end, value }, anchor)?;
            }
            Event::Alias(anchor) => self.repeat(anchor, place)?,
            // Nothing of a document's content.
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin_document(&mut self, place: Place) {
        self.documents += 1;
        if self.documents > 1 {
            let message = "a second document begins here; one is accepted";
            self.problems.add(place, "", message);
        }
    }

    fn begin(&mut self, place: Place, anchor: usize, value: Value) -> Result<(), Stop> {
        self.count(1, place)?;
        if self.open.len() >= self.limits.depth {
            let message = format!("nested deeper than {} levels", self.limits.depth);
            return Err(Stop::Limit(place, message));
        }
        self.open.push(Open {
            place,
            anchor,
            value,
            seen: BTreeMap::new(),
            key: None,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else {
            return Ok(()); // The parser pairs its events.
        };
        let Open {
            place,
            anchor,
            value,
            ..
        } = open;
        let end = place;
        self.finish(Node { place, end, value }, anchor)
    }

    /// A node is complete: keeps a copy for its anchor, and hangs it up where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor > 0 {
            self.count_copy(&node, node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node);
        Ok(())
    }

    fn repeat(&mut self, anchor: usize, place: Place) -> Result<(), Stop> {
        let Some(node) = self.anchors.remove(&anchor) else {
            let message = "an alias inside of the value that it repeats";
            return Err(Stop::Limit(place, message.to_owned()));
        };
        self.count_copy(&node, place)?;
        self.attach(node.clone());
        self.anchors.insert(anchor, node);
        Ok(())
    }

    fn attach(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match &mut open.value {
            Value::Scalar(_) => {} // Never open.
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                None => self.take_key(node),
                Some((PendingKey::Refused, _)) => {}
                Some((PendingKey::Text(key), place)) => entries.push(Entry {
                    key,
                    place,
                    value: node,
                }),
            },
        }
    }

    fn take_key(&mut self, node: Node) {
        let path = self.path();
        let place = node.place;
        let Some(open) = self.open.last_mut() else {
            return; // Only called inside of a map.
        };
        let refusal = match node.value {
            Value::Scalar(scalar) if scalar.is_null() => "a key is missing".to_owned(),
            Value::Scalar(scalar) if scalar.style == Style::Plain && scalar.text == "<<" => {
                "merge keys are not supported; write the keys out".to_owned()
            }
            Value::Scalar(scalar) => {
                let Some(first) = open.seen.get(&scalar.text) else {
                    open.seen.insert(scalar.text.clone(), place);
                    open.key = Some((PendingKey::Text(scalar.text), place));
                    return;
                };
                let (key, Place { line, column }) = (quoted(&scalar.text), first);
                format!("the key {key} is there already, at line {line}, column {column}")
            }
            Value::List(_) => "a list cannot be a key; expected a text".to_owned(),
            Value::Map(_) => "a map cannot be a key; expected a text".to_owned(),
        };
        open.key = Some((PendingKey::Refused, place));
        self.problems.add(place, &path, refusal);
    }

    /// Where we are: `builds.test.steps[2]`.
    fn path(&self) -> String {
        let mut path = String::new();
        for (depth, open) in self.open.iter().enumerate() {
            let innermost = depth + 1 == self.open.len();
            match (&open.value, &open.key) {
                (Value::List(items), _) if !innermost => {
                    path = format!("{path}[{}]", items.len());
                }
                (Value::Map(_), Some((PendingKey::Text(key), _))) => {
                    path = super::read::below(&path, key);
                }
                (Value::Scalar(_) | Value::List(_) | Value::Map(_), _) => {}
            }
        }
        path
    }

    fn check_tag(&mut self, tag: Option<&Tag>, place: Place) {
        let Some(tag) = tag else { return };
        let core = tag.is_yaml_core_schema();
        if (core && tag.suffix == "str") || tag.suffix == "!" {
            return;
        }
        let hint = if tag.suffix.starts_with('=') {
            "; a text that begins with \"!\" needs quotes, as in \"!=3.10\""
        } else {
            ""
        };
        let path = self.path();
        let handle = if core { "!!" } else { tag.handle.as_str() };
        let shown = format!("{handle}{}", tag.suffix);
        let message = format!("the tag {} is not supported{hint}", quoted(&shown));
        self.problems.add(place, &path, message);
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= self.limits.nodes {
            return Ok(());
        }
        let message = format!("more than {} values", self.limits.nodes);
        Err(Stop::Limit(place, message))
    }

    fn count_copy(&mut self, node: &Node, place: Place) -> Result<(), Stop> {
        let (nodes, bytes) = size(node);
        self.count(nodes, place)?;
        self.copied_bytes = self.copied_bytes.saturating_add(bytes);
        if self.copied_bytes <= self.limits.copied_bytes {
            return Ok(());
        }
        let message = format!(
            "anchors and aliases repeat more than {} bytes",
            self.limits.copied_bytes
        );
        Err(Stop::Limit(place, message))
    }
}

/// Nodes and bytes of text in a tree; as deep as the limit allows at most.
fn size(node: &Node) -> (usize, usize) {
    let add = |(nodes, bytes): (usize, usize), (more, longer)| (nodes + more, bytes + longer);
    match &node.value {
        Value::Scalar(scalar) => (1, scalar.text.len()),
        Value::List(items) => items.iter().map(size).fold((1, 0), add),
        Value::Map(entries) => entries.iter().fold((1, 0), |sum, entry| {
            add(add(sum, (0, entry.key.len())), size(&entry.value))
        }),
    }
}

fn style_of(style: ScalarStyle, tagged: bool) -> Style {
    match style {
        ScalarStyle::Plain if tagged => Style::Quoted,
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    }
}

fn place_of(marker: Marker) -> Place {
    Place {
        line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
        column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
    }
}

impl Stop {
    fn place(&self) -> Place {
        match self {
            Self::Syntax(error) => place_of(*error.marker()),
            Self::Limit(place, _) => *place,
        }
    }

    fn message(&self, source: &Source<'_>) -> String {
        match self {
            Self::Limit(_, message) => message.clone(),
            Self::Syntax(error) => {
                let hint = hint(source.rest(self.place()));
                let info = shortened(error.info(), MESSAGE_CHARACTERS);
                format!("not YAML: {info}{hint}")
            }
        }
    }
}

/// What to do about the character that a syntax error points at.
fn hint(rest: &str) -> String {
    let mut characters = rest.chars();
    match (characters.next(), characters.next()) {
        (Some('>'), Some('=' | ' ' | '0'..='9')) => {
            "; a text that begins with \">\" needs quotes, as in \">=3.11\"".to_owned()
        }
        (Some(c @ ('@' | '`' | '%' | '*' | '&' | '|')), _) => {
            format!(
                "; a text that begins with {} needs quotes",
                quoted(&c.to_string())
            )
        }
        (Some('\t'), _) => "; indent with blanks".to_owned(),
        (Some('{'), Some('{')) => "; a text with `${{` needs quotes inside of { }".to_owned(),
        _ => String::new(),
    }
}
