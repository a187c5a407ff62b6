//! Runs the fuzz targets on their corpus, and on some thousand mutations of it.
//!
//! A file's name begins with `good` if its input is accepted and with `bad` if it is refused.

mod mutations;

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use audit_log_hostile::{TARGETS, Target};

/// For each target, always the same ones.
const MUTATIONS: u64 = 3_000;

fn fuzz(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(path)
}

fn names_in(path: &str) -> io::Result<BTreeSet<String>> {
    fs::read_dir(fuzz(path))?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Returns a target's files in order: name and content.
fn read_corpus(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let folder = format!("corpus/{}", target.name);
    let file = |name: String| fs::read(fuzz(&format!("{folder}/{name}"))).map(|input| (name, input));
    names_in(&folder)?.into_iter().map(file).collect()
}

/// Prints the input if a target panics.
struct PrintOnPanic<'a>(&'a Target, &'a [u8]);

impl Drop for PrintOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input of {} was {:?}", self.0.name, String::from_utf8_lossy(self.1));
        }
    }
}

fn accepts(target: &Target, input: &[u8]) -> bool {
    let _print = PrintOnPanic(target, input);
    (target.check)(input)
}

#[test]
fn each_target_can_be_fuzzed_and_has_a_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names_in("corpus").unwrap(), names);
    assert_eq!(names_in("fuzz_targets").unwrap(), names.iter().map(|name| format!("{name}.rs")).collect());
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for target in &TARGETS {
        let (name, call) = (target.name, format!("audit_log_hostile::{}::check(data)", target.name));
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "cargo-fuzz has no target {name}");
        assert!(fs::read_to_string(fuzz(&format!("fuzz_targets/{name}.rs"))).unwrap().contains(&call), "{name}");
    }
}

#[test]
fn each_file_of_the_corpus_is_accepted_if_its_name_begins_with_good() {
    let mut mismatches = Vec::new();
    for target in &TARGETS {
        let files = read_corpus(target).unwrap();
        let good = files.iter().filter(|(name, _)| name.starts_with("good-")).count();
        assert!(good >= 4 && files.len() - good >= 8, "{} has too small a corpus", target.name);
        for (name, input) in files {
            assert!(name.starts_with("good-") || name.starts_with("bad-"), "{name} has neither prefix");
            if accepts(target, &input) != name.starts_with("good-") {
                mismatches.push(format!("{}/{name}", target.name));
            }
        }
    }
    assert_eq!(mismatches, [""; 0], "accepted although bad, or refused although good");
}

#[test]
fn mutations_of_the_corpus_cause_no_panic() {
    for target in &TARGETS {
        let files: Vec<Vec<u8>> = read_corpus(target).unwrap().into_iter().map(|(_, input)| input).collect();
        let accepted = (0..MUTATIONS).filter(|seed| accepts(target, &mutations::mutate(&files, *seed))).count() as u64;
        assert!((1..MUTATIONS).contains(&accepted), "{}: all mutations are accepted, or none", target.name);
    }
}
