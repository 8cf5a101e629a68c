use super::*;

#[test]
fn the_code_is_the_one_that_is_written_beside_it() {
    assert_eq!(code().repr_hash().0, CODE_HASH);
    let facts = include_str!("../../contracts/channel.json");
    let hash: String = CODE_HASH.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(facts.contains(&format!("\"code_hash\": \"{hash}\"")), "{facts}");
}
