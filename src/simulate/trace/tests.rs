//! Histories in every format, good and bad.

use super::*;
use crate::matching::describe;
use crate::model::Span;

fn at(text: &str) -> Timestamp {
    serde_json::from_str(&format!("\"{text}\"")).unwrap()
}

const HISTORY: &str = r#"{"id":"b2","submit":"2026-11-02T09:00:05Z","run_s":12.5,"labels":{"branch":"main"},"requires":{"python":">=3.12","docker":true}}
{"id":"b1","submit":"2026-11-02T09:00:00Z","start":"2026-11-02T09:00:30Z","run_s":"60","priority":3,"project":"web","name":"test","image":"debian-12","deadline_s":600}
"#;

#[test]
fn our_own_lines_are_read_in_order_of_submission() {
    let trace = read(HISTORY, Format::History).unwrap();
    let [first, second] = trace.builds.as_slice() else {
        panic!("{trace:?}");
    };
    assert_eq!(first.work.submit, at("2026-11-02T09:00:00Z"));
    assert_eq!(first.started, Some(at("2026-11-02T09:00:30Z")));
    assert_eq!(first.work.run, Span::from_secs(60));
    assert_eq!(first.work.priority, 3);
    assert_eq!(first.work.image.as_deref(), Some("debian-12"));
    assert_eq!(first.work.deadline, Some(Span::from_secs(600)));
    assert_eq!(second.work.run, Span::from_millis(12_500));
    assert_eq!(describe(&second.work.requires), "docker, python >=3.12");
    assert_eq!(second.work.project, "default");
}

#[test]
fn what_is_written_is_read_back() {
    let trace = read(HISTORY, Format::History).unwrap();
    let lines = trace
        .builds
        .iter()
        .enumerate()
        .map(|(place, build)| Line::new(format!("b{place}"), build));
    let text = write(lines).unwrap();
    assert_eq!(read(&text, Format::History).unwrap(), trace);
}

#[test]
fn a_table_says_the_same_as_lines() {
    let table = "id,submit,start,run_s,labels,image,priority,project,name,requires,deadline_s\n\
        b2,2026-11-02T09:00:05Z,,12.5,branch=main,,,,,\"python: >=3.12; docker\",\n\
        b1,1793610000,2026-11-02T09:00:30Z,60,,debian-12,3,web,test,,600\n";
    assert_eq!(
        read(table, Format::Csv).unwrap(),
        read(HISTORY, Format::History).unwrap()
    );
}

#[test]
fn bad_lines_are_told_with_their_numbers() {
    let text = "{\"submit\":\"today\",\"run_s\":1}\n\n{\"run_s\":1}\nnothing\n\
                {\"submit\":\"2026-11-02T09:00:00Z\",\"run_s\":-1}\n\
                {\"submit\":\"2026-11-02T09:00:00Z\",\"run_s\":1,\"runtime\":2}\n";
    let error = read(text, Format::History).unwrap_err();
    let shown: Vec<_> = error
        .problems
        .iter()
        .map(|problem| format!("{}: {}", problem.line, problem.message))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
    assert_eq!(error.to_string(), "5 lines of the history cannot be used");
}

#[test]
fn many_bad_lines_are_counted() {
    let text = "{}\n".repeat(50);
    let error = read(&text, Format::History).unwrap_err();
    assert_eq!((error.problems.len(), error.more), (20, 30));
}

#[test]
fn tables_need_a_header_that_is_known() {
    for (text, told) in [
        ("submit,length\n1,2\n", "\"length\" is no column"),
        ("submit,name\n1,2\n", "there is no column run_s"),
        ("submit,run_s\n1\n", "1 fields; expected 2"),
        ("submit,run_s,labels\n1,2,=x\n", "has no name"),
    ] {
        let error = read(text, Format::Csv).unwrap_err();
        let message = &error.problems[0].message;
        assert!(message.contains(told), "{message}");
    }
}

const JOBS: &str = r#"{
  "total_count": 4,
  "jobs": [
    {"id": 1, "run_url": "https://api.github.com/repos/acme/web/actions/runs/9", "status": "completed",
     "conclusion": "success", "created_at": "2026-11-02T09:00:00Z", "started_at": "2026-11-02T09:00:20Z",
     "completed_at": "2026-11-02T09:05:20Z", "name": "test (3.12)", "workflow_name": "CI",
     "head_branch": "main", "labels": ["self-hosted", "Linux", "gpu"], "runner_id": 7, "steps": []},
    {"id": 2, "status": "completed", "conclusion": "skipped", "created_at": "2026-11-02T09:00:00Z",
     "started_at": "2026-11-02T09:00:00Z", "completed_at": "2026-11-02T09:00:00Z", "labels": []},
    {"id": 3, "status": "completed", "conclusion": "cancelled", "created_at": "2026-11-02T09:00:00Z",
     "started_at": "2026-11-02T09:00:00Z", "completed_at": "2026-11-02T09:01:00Z", "labels": [], "runner_id": 0},
    {"id": 4, "status": "in_progress", "conclusion": null, "created_at": "2026-11-02T09:00:00Z",
     "started_at": "2026-11-02T09:00:00Z", "completed_at": null, "labels": [], "runner_id": 8}
  ]
}
"#;

#[test]
fn jobs_of_github_become_builds_and_what_never_ran_is_counted() {
    let trace = read(JOBS, Format::GithubJobs).unwrap();
    let [build] = trace.builds.as_slice() else {
        panic!("{trace:?}");
    };
    assert_eq!(build.work.submit, at("2026-11-02T09:00:00Z"));
    assert_eq!(build.started, Some(at("2026-11-02T09:00:20Z")));
    assert_eq!(build.work.run, Span::from_secs(300));
    assert_eq!(build.work.project, "acme/web");
    assert_eq!(build.work.name, "CI / test (3.12)");
    assert_eq!(describe(&build.work.requires), "gpu, linux");
    let left_out: Vec<_> = trace.left_out.into_iter().collect();
    assert_eq!(
        left_out,
        [
            ("canceled before they ran", 1),
            ("not over yet", 1),
            ("skipped", 1)
        ]
    );
}

#[test]
fn many_documents_and_pages_in_a_list_are_read_alike() {
    let one = read(JOBS, Format::GithubJobs).unwrap();
    let twice = read(&format!("{JOBS}{JOBS}"), Format::GithubJobs).unwrap();
    let listed = read(&format!("[{JOBS},{JOBS}]"), Format::GithubJobs).unwrap();
    assert_eq!(twice.builds.len(), 2 * one.builds.len());
    assert_eq!(listed, twice);
}

#[test]
fn broken_jobs_are_told_by_line_and_id() {
    let broken = r#"{"jobs": []}
{"jobs": [{"id": 5, "conclusion": "success", "started_at": "2026-11-02T09:00:00Z"}]}
{"runs": []}
{"jobs": "#;
    let error = read(broken, Format::GithubJobs).unwrap_err();
    let told: Vec<_> = error
        .problems
        .iter()
        .map(|problem| (problem.line, problem.message.as_str()))
        .collect();
    assert_eq!(
        told[0],
        (2, "job 5: completed_at is missing; expected a time")
    );
    assert_eq!(told[1].0, 3);
    assert_eq!(told[2].0, 4);
    assert_eq!(told.len(), 3);
}

const LOG: &str = "; Version: 2.2\n; UnixStartTime: 1793606400\n\
    1 0 20 300 4 -1 -1 4 600 -1 1 3 2 7 1 0 -1 -1\n\
    2 60 -1 0 1 -1 -1 1 -1 -1 5 3 2 -1 1 0 -1 -1\n\
    3 60 5 -1 1 -1 -1 1 -1 -1 5 3 2 -1 1 0 -1 -1\n\
    4 90 -1 30 1 12.5 -1 1 -1 -1 1 3 -1 -1 -1 -1 -1 -1\n";

#[test]
fn workload_logs_become_builds() {
    let trace = read(LOG, Format::Swf).unwrap();
    let [first, second] = trace.builds.as_slice() else {
        panic!("{trace:?}");
    };
    assert_eq!(first.work.submit, at("2026-11-02T08:00:00Z"));
    assert_eq!(first.started, Some(at("2026-11-02T08:00:20Z")));
    assert_eq!(first.work.run, Span::from_secs(300));
    assert_eq!(
        (&*first.work.project, &*first.work.name),
        ("group-2", "app-7")
    );
    assert_eq!(describe(&first.work.requires), "partition 0");
    assert_eq!(second.started, None);
    assert_eq!(
        (&*second.work.project, &*second.work.name),
        ("default", "user-3")
    );
    assert_eq!(trace.left_out.values().sum::<usize>(), 2);
    let error = read("1 2 3\n1 x 0 3 4 5 6 7 8 9 1 1 1 1 1 1 1 1\n", Format::Swf).unwrap_err();
    assert_eq!(error.problems[0].message, "3 fields; expected 18 numbers");
    assert_eq!(error.problems[1].message, "field 2: \"x\" is not a number");
}

#[test]
fn formats_are_told_by_name_or_by_content() {
    for (name, text, format) in [
        ("a.jsonl", "", Some(Format::History)),
        ("a.csv", "", Some(Format::Csv)),
        ("a.swf", "", Some(Format::Swf)),
        ("jobs.json", JOBS, Some(Format::GithubJobs)),
        (
            "jobs.json",
            "{\"total_count\":1,\"jobs\":[]}",
            Some(Format::GithubJobs),
        ),
        ("jobs", "[[]]", Some(Format::GithubJobs)),
        ("trace", HISTORY, Some(Format::History)),
        ("trace", LOG, Some(Format::Swf)),
        ("trace.txt", "id, submit, run_s\n", Some(Format::Csv)),
        ("trace.txt", "hello\n", None),
        ("trace.txt", "", None),
    ] {
        assert_eq!(Format::of_file(name, text), format, "{name} {text:.40}");
    }
}
