//! The demonstration's images, policy and pipeline, from what the host has.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::{AttemptId, BuildSpec, PipelineId, Span, Step, Timestamp};
use crate::remote;

use super::host::Host;

/// A document for the server.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) name: &'static str,
    pub(super) text: String,
    /// Its capabilities, for people.
    pub(super) summary: String,
}

/// Three machines at most, gone two seconds after their last build.
pub(super) const POLICY: &str = "name: default\nlimits: { machines: 3 }\nidle: { timeout: 2s }\n";
/// The build that fails on purpose.
pub(super) const FAILING: &str = "fails-on-purpose";

/// Images with overlapping capabilities: every one has the shells, each has something of its own.
pub(super) fn images(host: &Host) -> Vec<Document> {
    let shells: Vec<&str> = host.shells.keys().copied().collect();
    let base = BTreeMap::from([
        ("os", json!(std::env::consts::OS)),
        ("arch", json!(std::env::consts::ARCH)),
        ("shell", json!(shells)),
    ]);
    let interpreters: Vec<&str> = host.interpreters.keys().copied().collect();
    let with = |more: &BTreeMap<&'static str, String>| {
        let more = more.iter().map(|(name, version)| (*name, json!([version])));
        let mut all: BTreeMap<&str, Value> = base.clone().into_iter().chain(more).collect();
        all.insert("interpreter", json!(interpreters));
        all
    };
    let mut everything = host.tools.clone();
    everything.extend(host.interpreters.clone());
    vec![
        image(host, "shells", "0.0052", &base),
        image(host, "interpreters", "0.0104", &with(&host.interpreters)),
        image(host, "workshop", "0.0416", &with(&everything)),
    ]
}

fn image(
    host: &Host,
    name: &'static str,
    price: &str,
    capabilities: &BTreeMap<&str, Value>,
) -> Document {
    let document = json!({
        "name": name,
        "provider": "local",
        "login": {"user": "builder"},
        "boot_timeout": "30s",
        "reference": {"path": host.path},
        "shapes": [{"name": "process", "vcpus": 1, "memory": "512MiB", "price": price}],
        "capabilities": capabilities,
        "probes": {"shell": "for shell in dash bash busybox mksh ksh zsh; do \
                             if command -v $shell >/dev/null; then echo $shell; fi; done"},
    });
    let words: Vec<String> = capabilities
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_string().replace('"', "")))
        .collect();
    Document {
        name,
        text: document.to_string(),
        summary: format!("${price}/h  {}", words.join("  ")),
    }
}

/// The pipeline, as a JSON document.
///
/// # Errors
/// When the runner cannot be put into words, which would be a bug.
pub(super) fn pipeline(host: &Host) -> anyhow::Result<String> {
    let mut builds = Map::new();
    builds.insert("runner".to_owned(), runner(host)?);
    if host.tools.contains_key("rust") && host.tools.contains_key("cc") {
        builds.insert("compile".to_owned(), compile());
    }
    let interpreters: Vec<&str> = host.interpreters.keys().copied().collect();
    if !interpreters.is_empty() {
        builds.insert("count-primes".to_owned(), primes(&interpreters));
    }
    builds.insert(FAILING.to_owned(), json!({
        "requires": {"shell": true},
        "steps": [
            {"name": "compile", "run": "echo 'main.c:3: error: expected \";\" before \"}\"' >&2; exit 2"},
            {"name": "tidy up", "always": true, "run": "echo 'tidying up all the same'"},
        ],
    }));
    builds.insert(
        "report".to_owned(),
        json!({
            "needs": ["runner"],
            "requires": {"shell": true},
            "steps": ["echo every shell of this host can run builds"],
        }),
    );
    Ok(json!({"name": "demo", "project": "dormouse", "builds": builds}).to_string())
}

/// Exercises the very script that drives builds, under every shell found.
fn runner(host: &Host) -> anyhow::Result<Value> {
    let attempt = AttemptId::from_bits(1);
    let [prepare, start] = remote::conversation(attempt, &inner_build())?;
    let mut cases = String::new();
    for (name, command) in &host.shells {
        // Writing into a text cannot fail.
        let _ = writeln!(cases, "{name}) as='{command}' ;;");
    }
    // On a busy host what copies the log may come after the run that it follows.
    let run = format!(
        "case $SHELL_NAME in\n{cases}esac\n\
         cat >prepare <<'DEMO_PREPARE_ENDS'\n{prepare}DEMO_PREPARE_ENDS\n\
         cat >start <<'DEMO_START_ENDS'\n{start}DEMO_START_ENDS\n\
         $as prepare\n\
         $as start >log 2>control\n\
         cat control\n\
         for turn in 1 2 3 4 5 6 7 8 9; do grep -q 'printed by the inner build' log && break; sleep 1; done\n\
         grep -q 'printed by the inner build' log\n\
         grep -q '^done 3 ' control\n\
         echo \"$SHELL_NAME: ran a build that exited with 3, and told so\"\n"
    );
    let shells: Vec<&str> = host.shells.keys().copied().collect();
    Ok(json!({
        "matrix": {"shell": shells},
        "requires": {"shell": "${{ matrix.shell }}"},
        "env": {"SHELL_NAME": "${{ matrix.shell }}"},
        "steps": [{"name": "a build within a build", "run": run, "timeout": "20s"}],
    }))
}

/// What the inner build does.
fn inner_build() -> Arc<BuildSpec> {
    let step = Step {
        name: "inner".to_owned(),
        run: "echo printed by the inner build; exit 3".to_owned(),
        env: BTreeMap::new(),
        timeout: None,
        continue_on_error: false,
        always: false,
    };
    Arc::new(BuildSpec {
        pipeline: PipelineId::from_bits(1),
        name: "inner".to_owned(),
        project: "dormouse".to_owned(),
        labels: BTreeMap::new(),
        priority: 0,
        matrix: BTreeMap::new(),
        requires: BTreeMap::new(),
        image: None,
        fresh: false,
        deadline: None,
        needs: Vec::new(),
        steps: vec![step],
        env: BTreeMap::new(),
        timeout: Span::from_secs(20),
        max_attempts: 1,
        log_limit_bytes: 1 << 20,
        submitted_at: Timestamp::default(),
    })
}

/// Compiles a program and runs it.
fn compile() -> Value {
    let source = "fn main() { let sum: u64 = (1..=1000).sum(); println!(\"the sum is {sum}\"); }";
    json!({
        "requires": {"rust": ">=1.60", "cc": true},
        "steps": [
            {"name": "write", "run": format!("cat >main.rs <<'END'\n{source}\nEND")},
            {"name": "compile", "run": "rustc --version; rustc -o main main.rs"},
            {"name": "test", "run": "./main; ./main | grep -q 500500"},
        ],
    })
}

/// The same small computation in every interpreter found.
fn primes(interpreters: &[&str]) -> Value {
    json!({
        "matrix": {"language": interpreters},
        "requires": {"interpreter": "${{ matrix.language }}"},
        "steps": [{"name": "count", "run": "case ${{ matrix.language }} in
  python) python3 -c 'print(sum(all(n % d for d in range(2, int(n**0.5)+1)) for n in range(2, 20000)))' ;;
  perl) perl -e 'N: for my $n (2..19999) { for my $d (2..sqrt $n) { next N unless $n % $d } $c++ } print qq{$c\\n}' ;;
  node) node -e 'let c=0; N: for (let n=2;n<20000;n++) { for (let d=2;d*d<=n;d++) if (n%d===0) continue N; c++ } console.log(c)' ;;
  lua) lua -e 'local c=0 for n=2,19999 do local p=true for d=2,math.floor(n^0.5) do if n%d==0 then p=false break end end if p then c=c+1 end end print(c)' ;;
esac | tee count
grep -qx 2262 count"}],
    })
}
