//! Whole documents in, drafts or problems out.

use std::fmt::Write as _;

use super::*;

const EXAMPLE: &str = include_str!("../../../docs/examples/python-matrix.yaml");

fn draft(text: &str) -> PipelineDraft {
    parse_pipeline(text, &PipelineLimits::default()).unwrap_or_else(|problems| {
        let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
        panic!("{text}\n{}", lines.join("\n"))
    })
}

fn refused(text: &str, limits: &PipelineLimits) -> Vec<String> {
    let problems = parse_pipeline(text, limits).expect_err(text);
    problems.iter().map(Problem::to_string).collect()
}

/// Each document with the problems it has, for a snapshot.
fn show_refused(documents: &[&str]) -> String {
    let mut shown = String::new();
    for text in documents {
        let problems = refused(text, &PipelineLimits::default()).join("\n");
        writeln!(shown, "{}\n{problems}\n", indented(text)).unwrap();
    }
    shown
}

fn indented(text: &str) -> String {
    let lines = text.trim_end().lines().enumerate();
    let numbered: Vec<_> = lines
        .map(|(index, line)| format!("{:3} | {line}", index + 1))
        .collect();
    numbered.join("\n")
}

/// A pipeline of one build called `b`, whose other keys are `body`, two blanks deep.
fn one(body: &str) -> String {
    format!("name: p\nbuilds:\n  b:\n    steps: [x]\n{body}")
}

fn names(draft: &PipelineDraft) -> Vec<&str> {
    draft
        .builds
        .iter()
        .map(|build| build.name.as_str())
        .collect()
}

#[test]
fn the_worked_example_expands() {
    insta::assert_yaml_snapshot!(draft(EXAMPLE));
}

#[test]
fn json_is_a_document_too() {
    let text =
        r#"{"name": "p", "builds": {"b": {"requires": {"python": "3.10"}, "steps": ["true"]}}}"#;
    assert_eq!(names(&draft(text)), ["b"]);
}

#[test]
fn a_small_pipeline_has_the_defaults() {
    let draft = draft("name: p\nbuilds: {b: {steps: ['true']}}\n");
    let build = &draft.builds[0];
    assert_eq!((draft.project.as_str(), draft.priority), ("default", 0));
    assert_eq!(build.timeout.to_string(), "1h");
    assert_eq!(build.deadline, None);
    assert_eq!((build.max_attempts, build.log_limit_bytes), (3, 100 << 20));
    assert_eq!(
        (build.fresh, build.image.as_deref(), build.priority),
        (false, None, 0)
    );
    assert_eq!(build.place, (2, 10));
}

#[test]
fn what_a_build_says_goes_over_what_the_pipeline_says() {
    let draft = draft(
        "name: p\nproject: q\npriority: 5\ntimeout: 2h\ndeadline: 1d\nlabels: {a: 1, b: 1}\nenv: {A: 1, B: 1}\n\
         builds:\n  own: {priority: -3, timeout: 90s, deadline: 30m, labels: {b: 2}, env: {B: 2}, steps: [x]}\n\
         \x20 plain: {steps: [x]}\n",
    );
    let [own, plain] = &draft.builds[..] else {
        panic!("{draft:?}")
    };
    assert_eq!(
        (own.priority, own.timeout.to_string()),
        (-3, "1m 30s".to_owned())
    );
    assert_eq!(
        (plain.priority, plain.timeout.to_string()),
        (5, "2h".to_owned())
    );
    assert_eq!(own.deadline, Some(crate::model::Span::from_secs(1_800)));
    assert_eq!(plain.deadline, Some(crate::model::Span::from_secs(86_400)));
    assert_eq!(
        (own.labels["a"].as_str(), own.labels["b"].as_str()),
        ("1", "2")
    );
    assert_eq!((own.env["A"].as_str(), own.env["B"].as_str()), ("1", "2"));
    assert_eq!(
        (plain.labels["b"].as_str(), plain.env["B"].as_str()),
        ("1", "1")
    );
}

#[test]
fn requirements_keep_the_text_of_the_document() {
    let draft = draft(&one(
        "    requires:\n      a: 3.10\n      b: [2.7, \">=3.10, <3.13\"]\n      c: true\n      d: 'false'\n      \
         e: [debian]\n      f: \"!=3.10\"\n      g: <4\n",
    ));
    let shown: Vec<_> = draft.builds[0]
        .requires
        .iter()
        .map(|(name, requirement)| format!("{name} {requirement}"))
        .collect();
    assert_eq!(
        shown,
        [
            "a 3.10",
            "b 2.7 or >=3.10, <3.13",
            "c any",
            "d none",
            "e debian",
            "f !=3.10",
            "g <4"
        ]
    );
}

#[test]
fn environment_values_keep_their_text_and_may_be_empty() {
    let draft = draft(&one(
        "    env: {A: 1.0, B: true, C: , D: '', E: 0x1F, _F1: ' x '}\n",
    ));
    let env: Vec<_> = draft.builds[0]
        .env
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(env, ["A=1.0", "B=true", "C=", "D=", "E=0x1F", "_F1= x "]);
}

#[test]
fn steps_without_a_name_are_named_by_their_script() {
    let draft = draft(
        "name: p\nbuilds:\n  b:\n    steps:\n      - make\n      - make\n      - |\n\n        \
         # first\n        second\n      - {run: make, name: other}\n",
    );
    let names: Vec<_> = draft.builds[0]
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(names, ["make", "make (2)", "# first", "other"]);
}

#[test]
fn shell_text_passes_untouched() {
    let script = "echo ${HOME} ${x:-{}} $((1+2)) {{ x }} {% if %} {# c #} {%- }} %} #} $ { {\n\
                  # line statement\n## comment\ncat <<'E'\n  {{- x -}}\nE\nprintf '%s\\n' \"$@\"\n\n";
    let block = script.trim_end().replace('\n', "\n          ");
    let text =
        format!("name: p\nbuilds:\n  b:\n    steps:\n      - run: |+\n          {block}\n\n");
    assert_eq!(draft(&text).builds[0].steps[0].run, script);
    // The same beside a template.
    let text = format!("{text}          ${{{{ build.name }}}}\n");
    assert_eq!(draft(&text).builds[0].steps[0].run, format!("{script}b\n"));
}

#[test]
fn templates_name_the_matrix_the_build_and_the_pipeline() {
    let draft = draft(
        "name: p\nproject: q\nlabels: {of: \"${{ pipeline.name }}\"}\nenv: {V: \"${{ matrix.v }}\"}\nbuilds:\n  b:\n    \
         matrix: {v: [3.10]}\n    image: debian-${{ matrix.v }}\n    labels: {v: \"${{ matrix.v }}\"}\n    \
         requires: {python: [\"${{ matrix.v }}\", \">=${{ matrix.v }}\"]}\n    steps:\n      \
         - {name: \"on ${{ matrix.v }}\", run: \"${{ build.name }} ${{ pipeline.project | upper }} \
         ${{ '}}' }} ${{ '${{' }} ${{ matrix.w | default('none') }} ${{ 'y' if matrix.v == '3.10' else 'n' }}\"}\n",
    );
    let build = &draft.builds[0];
    assert_eq!(draft.labels["of"], "p");
    assert_eq!(build.env["V"], "3.10");
    assert_eq!(build.image.as_deref(), Some("debian-3.10"));
    assert_eq!(
        (build.labels["of"].as_str(), build.labels["v"].as_str()),
        ("p", "3.10")
    );
    assert_eq!(build.requires["python"].to_string(), "3.10 or >=3.10");
    assert_eq!(build.steps[0].name, "on 3.10");
    assert_eq!(build.steps[0].run, "b (3.10) Q }} ${{ none y");
}

#[test]
fn a_matrix_multiplies_excludes_and_includes_like_the_field() {
    // The example of the format's origin, whose documentation lists these six combinations.
    let draft = draft(&one(
        "    matrix:\n      fruit: [apple, pear]\n      animal: [cat, dog]\n      include:\n        \
         - color: green\n        - color: pink\n          animal: cat\n        \
         - fruit: apple\n          shape: circle\n        - fruit: banana\n        \
         - fruit: banana\n          animal: cat\n",
    ));
    insta::assert_snapshot!(names(&draft).join("\n"), @r"
    b (apple, cat, pink, circle)
    b (apple, dog, green, circle)
    b (pear, cat, pink)
    b (pear, dog, green)
    b (banana)
    b (banana, cat)
    ");
}

#[test]
fn a_matrix_of_includes_alone_and_one_with_empty_values() {
    let alone = draft(&one("    matrix: {include: [{a: 1}, {a: 2, b: x}]}\n"));
    assert_eq!(names(&alone), ["b (1)", "b (2, x)"]);
    let empty = draft(&one("    matrix: {flags: ['', --all]}\n"));
    assert_eq!(names(&empty), ["b (\"\")", "b (--all)"]);
}

#[test]
fn needing_a_matrix_build_is_needing_all_of_it() {
    let draft = draft(
        "name: p\nbuilds:\n  last: {needs: [m, one, m], steps: [x]}\n  m: {matrix: {a: [1, 2, 3]}, needs: one, \
         steps: [x]}\n  one: {steps: [x]}\n",
    );
    let needs: Vec<_> = draft
        .builds
        .iter()
        .map(|build| build.needs.clone())
        .collect();
    assert_eq!(needs, [vec![1, 2, 3, 4], vec![4], vec![4], vec![4], vec![]]);
}

#[test]
fn problems_of_structure() {
    let shown = show_refused(&[
        "builds: []\n",
        "name: p\n",
        "name: p\nbuilds: {}\n",
        "- a\n- b\n",
        "just text",
        "name: my pipeline\nproject: ../etc\njobs: {}\npriority: high\ntimeout: 90\nbuilds:\n  \"b \\e[31m\": {steps: [x]}\n",
        "name: p\nbuilds:\n  b:\n    runs-on: ubuntu\n    step: [x]\n    fresh: yes\n    retry: 3\n    log_limit: 5 gigs\n",
        "name: p\nbuilds:\n  b:\n    steps: []\n  c:\n    steps:\n  d: [x]\n  e:\n    steps: make\n",
        "name: p\nbuilds:\n  b:\n    steps:\n      - run: ''\n      - name: lonely\n      - {run: x, shell: bash}\n      \
         - {run: x, timeout: 8d, always: 1}\n      - {run: y, name: twin}\n      - {run: z, name: twin}\n      - [x]\n      - \n      - \"a\\0b\"\n",
        "name: p\nbuilds:\n  b:\n    steps: [x]\n    retry: {infrastructure: 11}\n    log_limit: 0\n    priority: 1000\n    timeout: 0s\n    deadline: 32d\n",
        "name: p\nenv: {1A: x, DORMOUSE_X: y, A-B: z, OK: [1]}\nlabels: {\"a b\": c, d: \"e\\nf\", g: }\nbuilds: {b: {steps: [x]}}\n",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn problems_of_requirements() {
    let shown = show_refused(&[
        "name: p\nbuilds:\n  b:\n    steps: [x]\n    requires:\n      a: []\n      b: ~3\n      c: \"~=3\"\n      d: [true, 1]\n      \
         e: {min: 3}\n",
        "name: p\nbuilds:\n  b:\n    steps: [x]\n    requires:\n      python: >=3.11\n",
        "name: p\nbuilds:\n  b:\n    steps: [x]\n    requires:\n      a: >3\n      b: \">=bookworm\"\n      c: \"3.11, 3.12\"\n      \"d e\": 1\n      f: \"\"\n      g: [\">=3\", \"<>4\"]\n      h:\n      i: [~]\n",
        "name: p\nbuilds:\n  b:\n    steps: [x]\n    requires: [python]\n    image: no such/image\n",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn problems_of_templates() {
    let shown = show_refused(&[
        "name: p\nbuilds:\n  b:\n    matrix: {python: [1, 2]}\n    steps:\n      - |\n        echo ${{ matrix.python }}\n\n        echo ${x} ${{ matrix.pyton }}\n",
        "name: p\nbuilds:\n  b:\n    steps:\n      - echo ${{ build.name\n      - >\n        folded\n        ${{ build.name }} ${{ 1 + }}\n      - \"a\\\n         ${{ nothing }}\"\n",
        "name: p\nbuilds:\n  b:\n    steps:\n      - echo ${{ build.name | shell }} ${{ build }} ${{ range(3) }}\n      - ${{ build.name.x.y }}\n      - ${{ build.name is odd }}\n",
        "name: p\nbuilds:\n  b:\n    steps:\n      - ${{ 'a' * 100000000 }}\n      - ${{ [1, 2] }}\n      - \"${{ {'a': {'b': 1}} * 3 }}\"\n      - ${{ '}}' * 9 }}\n      - \"${{ '\\\\'}}' * 9 }}\"\n",
        "name: p\nlabels: {a: \"${{ matrix.x }}\"}\nenv: {E: \"${{ matrix.x }}\"}\nbuilds:\n  b: {matrix: {x: [1]}, steps: [x]}\n  c: {steps: [x]}\n",
        "name: p\nbuilds:\n  b:\n    matrix: {x: [a b, \"\"]}\n    image: \"${{ matrix.x }}\"\n    requires: {python: \">=${{ matrix.x }}\"}\n    steps: [{run: \"${{ '' }}\", name: \"${{ matrix.x }}\"}]\n",
        "name: p\nbuilds:\n  b:\n    needs: \"${{ x }}\"\n    matrix: {a: [\"${{ x }}\"]}\n    timeout: ${{ x }}\n    steps: [x]\n",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn problems_of_matrices_and_needs() {
    let shown = show_refused(&[
        "name: p\nbuilds:\n  b:\n    steps: [x]\n    matrix:\n      python-version: [1]\n      a: 5\n      b: []\n      c: [1, 1, [2], ~]\n",
        "name: p\nbuilds:\n  b:\n    steps: [x]\n    matrix:\n      a: [1, 2]\n      exclude: [{aa: 1}, {a: 3}, {}]\n      include: [{a: 2}, {a: 3}, {a: 3}]\n",
        "name: p\nbuilds:\n  b:\n    steps: [x]\n    matrix: {a: [1], exclude: [{a: 1}]}\n  c:\n    steps: [x]\n    matrix: {}\n",
        "name: p\nbuilds:\n  b: {needs: tests, steps: [x]}\n  test: {needs: [b, {a: b}], steps: [x]}\n",
        "name: p\nbuilds:\n  a: {needs: a, steps: [x]}\n  b: {needs: [c, f], steps: [x]}\n  c: {needs: d, steps: [x]}\n  d: {needs: b, steps: [x]}\n  \
         e: {needs: b, steps: [x]}\n  f: {steps: [x]}\n",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn limits_are_told_with_their_numbers() {
    let small = PipelineLimits {
        combinations: 4,
        builds: 5,
        steps: 2,
        expanded_bytes: 2_000,
        env_variables: 2,
        env_bytes: 40,
        variable_bytes: 30,
        run_bytes: 50,
        labels: 1,
        ..PipelineLimits::default()
    };
    let long = "y".repeat(51);
    let documents = [
        one("    matrix: {a: [1, 2, 3], b: [1, 2]}\n"),
        "name: p\nbuilds:\n  a: {matrix: {v: [1, 2, 3]}, steps: [x]}\n  b: {matrix: {v: [1, 2, 3]}, steps: [x]}\n".to_owned(),
        "name: p\nbuilds: {a: {steps: [x, y, z]}}\n".to_owned(),
        one("    env: {A: 1, B: 2, C: 3}\n"),
        one("    env: {A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, B: bbbbbbbbbbbbbbbbbbbb}\n"),
        format!("name: p\nbuilds: {{a: {{steps: [{long}]}}}}\n"),
        one("    labels: {a: 1, b: 2}\n"),
        one(&format!("    matrix: {{v: [{}]}}\n", "z".repeat(201))),
        one(&format!("    matrix: {{a: [{0}], b: [{0}]}}\n", "z".repeat(150))),
    ];
    let shown: Vec<_> = documents
        .iter()
        .map(|text| refused(text, &small).join("\n"))
        .collect();
    let shown = shown.join("\n");
    insta::assert_snapshot!(shown);
    // Excluded combinations do not count against the limit.
    let thinned = one("    matrix: {a: [1, 2, 3], b: [1, 2], exclude: [{a: 1}]}\n");
    assert_eq!(parse_pipeline(&thinned, &small).unwrap().builds.len(), 4);
}

#[test]
fn the_expanded_size_is_bounded() {
    let script = "x".repeat(200_000);
    let axis: Vec<_> = (0..256).map(|number| number.to_string()).collect();
    let text = format!(
        "name: p\nbuilds:\n  b:\n    matrix: {{n: [{}]}}\n    steps: [{script}]\n",
        axis.join(", ")
    );
    let problems = refused(&text, &PipelineLimits::default());
    insta::assert_snapshot!(problems.join("\n"), @"3:3: builds: with all combinations the builds take more than 16MiB; put long scripts into files");
}

#[test]
fn huge_matrices_are_refused_without_being_expanded() {
    let values: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    let axis = values.join(", ");
    let lines: Vec<_> = (0..12)
        .map(|name| format!("      a{name}: [{axis}]\n"))
        .collect();
    let text = one(&format!("    matrix:\n{}", lines.concat()));
    let problems = refused(&text, &PipelineLimits::default());
    assert_eq!(
        problems,
        ["6:7: builds.b.matrix: the matrix has more than 256 combinations"]
    );
}

#[test]
fn hostile_templates_end_quickly() {
    // Some too long for us, some just short enough to reach the library.
    let nest = |depth| format!("${{{{ {}1{} }}}}", "(".repeat(depth), ")".repeat(depth));
    let repeat = |piece: &str, count| format!("${{{{ {}'b' }}}}", piece.repeat(count));
    let chain = |piece: &str, count| format!("${{{{ 'b'{} }}}}", piece.repeat(count));
    let templates = [
        nest(5_000),
        nest(240),
        repeat("not ", 50_000),
        repeat("'a' ~ ", 20_000),
        chain("|lower", 20_000),
        chain("|replace('b', 'bbbbbbbbbb')", 17),
        chain(".a", 240),
        chain("(1)", 160),
        repeat("-", 490),
        "${{ build.name }}".repeat(10_000),
    ];
    for template in templates {
        let text = format!("name: p\nbuilds:\n  b:\n    steps:\n      - \"{template}\"\n");
        let problems = refused(&text, &PipelineLimits::default());
        assert!(
            problems[0].contains(": builds.b.steps[0]: template: "),
            "{problems:?}"
        );
    }
    for harmless in [
        repeat("not ", 120),
        repeat("'a' ~ ", 80),
        chain("|lower", 80),
    ] {
        let text = format!("name: p\nbuilds:\n  b:\n    steps:\n      - \"{harmless}\"\n");
        assert!(!draft(&text).builds[0].steps[0].run.is_empty());
    }
}
