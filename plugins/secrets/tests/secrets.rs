//! The secrets plugin on layers, natively.

use plugin_secrets::Secrets;
use transom_sdk::Verdict;
use transom_sdk::testing::{Chunking, Harness};

/// A tar with one file. Only what the plugin reads is filled in.
fn tar(path: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..path.len()].copy_from_slice(path.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

fn harness() -> Harness {
    Harness::new()
        .config("refuse", false)
        .config("severity", "info")
        .config("max_findings", 100)
        .config("ignore", Vec::<String>::new())
        .config("rules", Vec::<String>::new())
        .config("disable", Vec::<String>::new())
        .config("allow", Vec::<String>::new())
}

/// Rules that fire on a text in the middle of a file.
fn rules(text: &str) -> Vec<String> {
    let run = harness().run::<Secrets>(&tar("f", format!("some words {text} and more").as_bytes()));
    run.outcome()
        .findings
        .iter()
        .map(|finding| finding.rule.clone())
        .collect()
}

#[test]
fn every_kind_is_found() {
    let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    for (text, rule) in [
        (format!("-----BEGIN PRIVATE KEY-----\n{key}"), "private-key"),
        (format!("-----BEGIN RSA PRIVATE KEY-----\r\n{key}"), "private-key"),
        (format!("\"-----BEGIN EC PRIVATE KEY-----\\n{key}"), "private-key"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED".into(),
            "private-key",
        ),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 2".into(),
            "private-key",
        ),
        ("AKIAQ3EGR7ZXJ5T2WY4M".into(), "aws-access-key"),
        ("ghs_0123456789abcdefghijABCDEFGHIJ012345".into(), "github-token"),
        (format!("github_pat_{}", "a1_".repeat(27)), "github-token"),
        ("glpat-0123456789abcdefghij".into(), "gitlab-token"),
        ("xoxb-123456789012-abcdefghijkl".into(), "slack-token"),
        ("sk_live_0123456789abcdefghijABCD".into(), "stripe-key"),
        ("AIza0123456789abcdefghijABCDEFGHIJ_-123".into(), "google-api-key"),
        ("npm_0123456789abcdefghijABCDEFGHIJ012345".into(), "npm-token"),
        (
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.sig".into(),
            "json-web-token",
        ),
    ] {
        assert_eq!(rules(&text), [rule], "{text}");
    }
}

#[test]
fn what_only_looks_like_one_is_not() {
    for text in [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n%s\n",
        "-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
        "AKIAIOSFODNN7EXAMPLE",
        "AKIAQ3EGR7ZXJ5T2WY4MX",
        "xAKIAQ3EGR7ZXJ5T2WY4M",
        "ghp_tooshort",
        "npm_config_registry",
        "eyJhbGciOiJIUzI1NiJ9",
    ] {
        assert_eq!(rules(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_secret_is_found_at_every_place_around_chunk_borders() {
    for before in (0..40).chain(1000..1060).chain(4080..4140).chain(65500..65560) {
        let mut content = vec![b' '; before];
        content.extend_from_slice(b"AKIAQ3EGR7ZXJ5T2WY4M");
        let layer = tar("f", &content);
        for chunking in [Chunking::Whole, Chunking::Bytes(1024), Chunking::Bytes(65536)] {
            let run = harness().chunking(chunking).run::<Secrets>(&layer);
            let findings = &run.outcome().findings;
            assert_eq!(findings.len(), 1, "{before} {chunking:?}");
            assert_eq!(findings[0].location, format!("f:+{before}"));
        }
    }
}

#[test]
fn chunking_makes_no_difference() {
    let mut content = Vec::new();
    for at in 0..400u32 {
        content.extend_from_slice(b"AKIAQ3EGR7ZXJ5T2WY4M ghp_ eyJhbGci -----BEGIN ");
        content.extend((0..at % 37).map(|byte| byte as u8));
    }
    harness().assert_chunking_invariant::<Secrets>(&tar("deep/er", &content));
}

#[test]
fn the_layer_is_refused_only_when_asked() {
    let layer = tar("f", b"AKIAQ3EGR7ZXJ5T2WY4M");
    assert_eq!(
        harness().run::<Secrets>(&layer).outcome().verdict,
        Verdict::Continue
    );
    let refused = harness().config("refuse", true).run::<Secrets>(&layer);
    assert!(matches!(refused.outcome().verdict, Verdict::Refuse { .. }));
    assert!(refused.output == layer);
}

#[test]
fn findings_beyond_the_limit_are_counted() {
    let layer = tar("f", "AKIAQ3EGR7ZXJ5T2WY4M ".repeat(30).as_bytes());
    let run = harness().config("max_findings", 5).run::<Secrets>(&layer);
    assert_eq!(run.outcome().findings.len(), 5);
    assert_eq!(run.outcome().annotations["dev.transom.secrets.count"], "30");
}

#[test]
fn a_secret_is_never_repeated_in_the_report() {
    let run = harness().run::<Secrets>(&tar("f", b"AKIAQ3EGR7ZXJ5T2WY4M"));
    assert!(!format!("{:?}", run.outcome()).contains("Q3EGR7ZXJ5T2WY4M"));
}

#[test]
fn the_operators_rules_are_looked_for_and_the_plugins_can_be_left_out() {
    let layer = tar("etc/app", b"token acme_0123456789abcdef and AKIAQ3EGR7ZXJ5T2WY4M");
    let custom = harness()
        .config("rules", ["acme-token critical acme_[a-f0-9]{16}\\b"])
        .config("disable", ["aws-access-key"])
        .config("refuse", true);
    let run = custom.run::<Secrets>(&layer);
    let outcome = run.outcome();
    assert_eq!(outcome.findings.len(), 1, "{outcome:?}");
    assert_eq!(outcome.findings[0].rule, "acme-token");
    assert_eq!(
        outcome.annotations["dev.transom.secrets.findings"],
        "acme-token etc/app:+6"
    );
    assert!(matches!(outcome.verdict, Verdict::Refuse { .. }));
    custom.assert_chunking_invariant::<Secrets>(&layer);
    let none = tar("etc/app", b"acme_0123456789abcdefg");
    assert!(custom.run::<Secrets>(&none).outcome().findings.is_empty());
}

#[test]
fn what_is_allowed_is_counted_and_no_reason_to_refuse() {
    let layer = tar("usr/share/test/key", b"AKIAQ3EGR7ZXJ5T2WY4M");
    let with = |allow: &str| {
        harness()
            .config("refuse", true)
            .config("allow", [allow])
            .run::<Secrets>(&layer)
    };
    for allow in ["aws-access-key usr/share/test/*", "* **/key"] {
        let run = with(allow);
        let outcome = run.outcome();
        assert_eq!(outcome.verdict, Verdict::Continue, "{allow}");
        assert_eq!(outcome.annotations["dev.transom.secrets.allowed"], "1");
        assert_eq!(outcome.annotations["dev.transom.secrets.count"], "0");
    }
    for allow in ["github-token usr/share/test/*", "aws-access-key usr/*"] {
        assert!(
            matches!(with(allow).outcome().verdict, Verdict::Refuse { .. }),
            "{allow}"
        );
    }
}
