use super::*;

#[test]
fn show() {
    let text = include_str!("../../../docs/examples/python-matrix.yaml");
    let draft = parse_pipeline(text, &PipelineLimits::default()).unwrap();
    insta::assert_yaml_snapshot!(draft);
}
