//! What no well-meaning person writes: no YAML at all, bombs, thousands of mistakes, mangled files.

use super::*;

#[test]
fn keys_given_twice() {
    check(
        "threads: 1\nthreads: 2\nservers:\n  - { max_body: 1, max_body: x }\nthreads: 3",
        &[
            "2:1: threads: the key is already given in line 1; keep one of the two",
            "4:20: servers[0].max_body: the key is already given in line 4; keep one of the two",
            "5:1: threads: the key is already given in line 1; keep one of the two",
        ],
    );
}

#[test]
fn text_that_is_no_yaml() {
    check("a: [1, 2", &["1:4: unclosed bracket '['"]);
    check("a: \"x", &["1:4: unclosed quote"]);
    check(
        "a: b: c",
        &[
            "1:5: a second \": \" in one line, or a key indented differently from the line above; \
         put the value in quotes, or line the keys up",
        ],
    );
    check(
        "a:\n\t- x",
        &["2:2: the line is indented by a tab; indent with spaces"],
    );
    check(
        "a: @x",
        &["1:4: unexpected character: `@'; put the value in quotes"],
    );
    check(
        "a: *x",
        &["1:4: alias references unknown anchor; define it above by \"&name\""],
    );
    check(
        "threads: 1\n---\nthreads: 2",
        &["3:1: a second document begins here; keep one document in the file"],
    );
    check(
        "a: 1\n- b",
        &["2:3: a list item or a text stands where a key must be; \
         write \"key: value\" here, or line it up with what it belongs to"],
    );
    check(
        "? [a]\n: b",
        &["1:3: a key must be a plain text; use a list or a block only as a value"],
    );
}

#[test]
fn bombs_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let again = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{again}]\n"));
    }
    let deep = format!("a: {}{}", "[".repeat(500), "]".repeat(500));
    for text in [bomb, deep] {
        let (document, problems) = parse_raw(&text);
        assert!(document.is_none());
        assert_eq!(problems.len(), 1);
        assert!(problems.to_string().contains("too"), "{problems}");
    }
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    let problem = || {
        read::<RawConfig>(&path)
            .unwrap_err()
            .to_string()
            .replace(path.to_str().unwrap(), "F")
    };
    assert_eq!(
        problem(),
        "F: cannot be read: No such file or directory (os error 2); give the path of a file that exists"
    );
    std::fs::write(&path, b"a: 1\nb: \xff\n").unwrap();
    assert_eq!(problem(), "F:2: is not UTF-8 text; save the file as UTF-8");
    std::fs::write(&path, b"\xef\xbb\xbfthreads: 2\n").unwrap();
    assert_eq!(read::<RawConfig>(&path).unwrap().raw.threads, Some(2));
}

#[test]
fn too_many_problems_end() {
    let text: String = (0..500).map(|n| format!("key{n}: 1\n")).collect();
    let (document, problems) = parse_raw(&text);
    assert!(document.is_none());
    assert_eq!(problems.len(), MAX_PROBLEMS + 1);
    assert!(
        problems
            .to_string()
            .starts_with("t.yaml: has more problems than these 50; mend")
    );
}

#[test]
/// Whatever is done to a document, reading it ends, with a document or with problems, and says the same twice.
fn mangled_documents() {
    let good = include_str!("good.yaml");
    assert_eq!(parse_raw(good).1.to_string(), "");
    let pieces = [
        ":", "- ", "[", "]", "{", "}", "\"", "'", "&a ", "*a", "\t", "\n", "? ", "!", "|", "é",
        "#", " ",
    ];
    for seed in 0..1000u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).unwrap_or(0)
        };
        let mut text: Vec<char> = good.chars().collect();
        for _ in 0..=next(6) {
            if text.is_empty() {
                break;
            }
            let at = next(text.len());
            match next(4) {
                0 => drop(text.remove(at)),
                1 => text
                    .splice(at..at, pieces[next(pieces.len())].chars())
                    .for_each(drop),
                2 => text.truncate(at.max(1)),
                _ => {
                    let piece: Vec<char> = text[at..(at + next(40)).min(text.len())].to_vec();
                    let to = next(text.len());
                    text.splice(to..to, piece).for_each(drop);
                }
            }
        }
        let text: String = text.into_iter().collect();
        let (document, problems) = parse_raw(&text);
        assert!(
            document.is_some() || !problems.is_empty(),
            "seed {seed}:\n{text}"
        );
        assert!(
            problems.iter().all(|problem| problem.place.line() > 0),
            "seed {seed}: {problems}"
        );
        assert_eq!(parse_raw(&text).1, problems, "seed {seed}");
    }
}
