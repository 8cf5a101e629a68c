//! docs/attested-tls.md says what the code does.

use std::collections::BTreeSet;

use attestation_ratls::channel::Message;

const DOCUMENT: &str = include_str!("../../../../docs/attested-tls.md");
const CODES: [&str; 3] = [
    include_str!("../../src/certificate.rs"),
    include_str!("../../src/channel/cut.rs"),
    include_str!("../../src/peer.rs"),
];

#[test]
fn its_messages_are_ours() {
    let lines: Vec<&str> = DOCUMENT.lines().filter(|line| line.starts_with("{\"type\"")).collect();
    assert_eq!(lines.len(), 5);
    for line in lines {
        let message = Message::from_line(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(message.to_line()).unwrap(), format!("{line}\n"));
    }
}

#[test]
fn its_codes_are_ours() {
    let documented: BTreeSet<&str> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    // `=> "code",` in the functions that give codes.
    let ours: BTreeSet<&str> = CODES
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.split("=> \"").nth(1)?.split('"').next())
        // Those of appraisal stand elsewhere.
        .filter(|code| !["binding_mismatch", "claims_expired"].contains(code))
        .collect();
    assert_eq!(documented, ours);
}
