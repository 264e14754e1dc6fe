//! YAML's odd corners, in and out.

use super::*;

fn small() -> DocumentLimits {
    DocumentLimits {
        bytes: 10_000,
        depth: 8,
        nodes: 500,
        copied_bytes: 1_000,
    }
}

/// The document as JSON, or its problems, a line each.
fn read(text: &str) -> String {
    match load(text, &small()) {
        Ok(document) => document.root.to_json().to_string(),
        Err(problems) => {
            let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
            format!("REFUSED {}", lines.join(" | "))
        }
    }
}

#[test]
fn odd_documents() {
    let billion_laughs = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\n\
                          c: &c [*b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c, *c, *c]\n";
    let long_laughs = format!("a: &a {}\nb: [*a, *a]\n", "x".repeat(400));
    let documents = [
        ("empty", ""),
        ("blank", "\n  \n"),
        ("comment only", "# nothing\n"),
        ("byte order mark", "\u{feff}a: 1\n"),
        ("CRLF", "a: |\r\n  one\r\n  two\r\nb: 2\r\n"),
        ("no final newline", "a: 1"),
        (
            "version texts",
            "[3.10, 0x10, 1e3, 010, 1_000, .5, 9.0, 12, -3, 2.5]",
        ),
        (
            "flags and nothing",
            "[true, True, false, yes, no, on, ~, null, , \"true\", 'null']",
        ),
        ("JSON", "{\"a\": [1, true, null, \"x\\ty\"]}"),
        ("folded", "a: >\n  one\n  two\n\n  three\n"),
        ("block scalar indicator", "a: |2-\n    x\n   y\n"),
        ("tab before a comment", "a: 1\t# one\n"),
        ("tab as indent", "a:\n\tb: 1\n"),
        (
            "anchor and alias",
            "a: &x {k: v}\nb: *x\nc: &y text\nd: [*y, *y]\n",
        ),
        ("alias as key", "a: &x k\n*x : v\n"),
        ("unknown alias", "a: *nobody\n"),
        ("alias of itself", "a: &x [1, *x]\n"),
        ("billion laughs", billion_laughs),
        ("long laughs", long_laughs.as_str()),
        ("duplicate keys", "a: 1\nb: {c: 1, d: 2, c: 3}\na: 2\n"),
        ("duplicate in a list", "l:\n  - x: 1\n  - x: 1\n    x: 2\n"),
        ("number as key", "3.10: a\n1: b\n"),
        ("list as key", "? [a, b]\n: c\nd: e\n"),
        ("map as key", "{a: b}: c\n"),
        ("no key", ": a\n"),
        ("merge key", "a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n"),
        ("two documents", "a: 1\n---\nb: 2\n"),
        ("document markers", "---\na: 1\n...\n"),
        ("directive", "%YAML 1.2\n---\na: 1\n"),
        ("text tag", "a: !!str 3.0\nb: ! 4\nc: !!str true\n"),
        ("other tags", "a: !!int 3\nb: !secret x\nc: !!set {x}\n"),
        ("unquoted not-equal", "python: !=3.10\n"),
        ("unquoted at-least", "python: >=3.11\n"),
        ("unquoted greater", "python: >3\n"),
        ("at sign", "a: @b\n"),
        ("backtick", "a: `b`\n"),
        ("unclosed list", "a: [1, 2\nb: 3\n"),
        ("unclosed quote", "a: \"b\nc: d\n"),
        ("two colons", "a: b: c\n"),
        ("bad escape", "a: \"\\q\"\n"),
        ("bad indent", "a:\n    b: 1\n  c: 2\n"),
        ("template in a flow map", "{a: ${{ matrix.x }}}"),
        ("raw NUL", "a: x\0y\n"),
        ("control character", "a: \u{1b}[31m\n"),
        ("too deep", "[[[[[[[[[x]]]]]]]]]"),
        ("just deep enough", "[[[[[[[[x]]]]]]]]"),
        ("scalar alone", "hello"),
    ];
    let shown = documents.map(|(name, text)| format!("{name:22} {}", read(text)));
    let shown = shown.join("\n");
    insta::assert_snapshot!(shown);
}

#[test]
fn limits_refuse_big_documents() {
    let long = "a".repeat(10_001);
    assert!(read(&long).contains("at most 10000"), "{}", read(&long));
    let many = format!("[{}]", "a,".repeat(600));
    assert!(
        read(&many).contains("more than 500 values"),
        "{}",
        read(&many)
    );
    let deep = "- ".repeat(4_000);
    assert!(read(&deep).contains("deeper than 8"), "{}", read(&deep));
}

#[test]
fn the_default_limits_bound_the_work() {
    let limits = DocumentLimits::default();
    let hostile = [
        "[".repeat(1 << 20),
        "{".repeat(1 << 20),
        "- ".repeat(1 << 19),
        "? ".repeat(1 << 19),
        format!("[{}]", "&a b,".repeat(200_000)),
        format!("&a {}", "[*a,".repeat(200_000)),
        "\"".repeat(1 << 20),
        "a: |\n".repeat(1 << 17),
    ];
    for text in hostile {
        assert!(load(&text, &limits).is_err(), "{text:.20}…");
    }
}

#[test]
fn a_reader_collects_every_problem_in_document_order() {
    let text = "port: many\nlevel: [a]\nnmae: x\nflag: yes\nlist: 5\ntimes: {fast: 90}\n";
    let document = load(text, &small()).unwrap();
    let mut problems = Problems::default();
    let known = ["port", "level", "name", "flag", "list", "times", "user"];
    let table = Field::root(&document.root)
        .table(&known, &mut problems)
        .unwrap();
    let port = table.get("port").unwrap();
    assert_eq!(port.integer(1..=65_535_u16, &mut problems), None);
    assert_eq!(table.get("level").unwrap().text(&mut problems), None);
    assert_eq!(table.get("flag").unwrap().flag(&mut problems), None);
    assert!(table.get("list").unwrap().list(&mut problems).is_none());
    let times = table.get("times").unwrap().entries(&mut problems).unwrap();
    for (_, time) in &times {
        assert_eq!(time.parse::<crate::model::Span>(&mut problems), None);
    }
    assert!(table.required("user", &mut problems).is_none());
    let found = problems.finish(Some(())).unwrap_err();
    let lines: Vec<_> = found.iter().map(Problem::to_string).collect();
    let shown = lines.join("\n");
    insta::assert_snapshot!(shown);
}

#[test]
fn a_flood_of_problems_is_cut() {
    let mut problems = Problems::default();
    for line in 1..=150 {
        problems.add(Place { line, column: 1 }, "", "wrong");
        problems.add(Place { line, column: 1 }, "", "wrong");
    }
    let found = problems.into_vec();
    assert_eq!(found.len(), 101);
    assert_eq!(
        found[100].to_string(),
        "100:1: more than 100 problems; the others are not shown"
    );
}

/// A tree without places, in the shape of the other reader's.
fn plain(node: &Node) -> serde_yaml::Value {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.as_str().into(),
        Value::List(items) => serde_yaml::Value::Sequence(items.iter().map(plain).collect()),
        Value::Map(entries) => {
            let pairs = entries
                .iter()
                .map(|entry| (entry.key.as_str().into(), plain(&entry.value)));
            serde_yaml::Value::Mapping(pairs.collect())
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in proptest::prelude::any::<String>()) {
        drop(load(&text, &small()));
    }

    #[test]
    fn yaml_soup_is_read_or_refused(text in "([a-c]: |- |\\[|\\]|\\{|\\}|, |\n|  |&a |\\*a |\\? |: |\"|'|\\||>|!x |#|\t|---\n|x){0,40}") {
        drop(load(&text, &small()));
    }

    #[test]
    fn an_independent_reader_sees_the_same_tree(text in "(([a-d]|'x y'|\"q\"): ([a-d]|\\[(a, b)?\\]|\\{c: d\\}|'t'|\n  - a\n  - b: c\n    d: a|\\|\n  l\n   m)\n){1,4}") {
        if let Ok(document) = load(&text, &small()) {
            let theirs: serde_yaml::Value = serde_yaml::from_str(&text).expect("valid for us");
            proptest::prop_assert_eq!(plain(&document.root), theirs);
        }
    }
}
