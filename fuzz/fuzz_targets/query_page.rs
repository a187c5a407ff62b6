//! Fuzzes the reader's own decoding of DynamoDB's answers.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    audit_log_hostile::query_page::check(data);
});
