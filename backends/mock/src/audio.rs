//! `/v1/audio/transcriptions`, `translations` and `speech`.
//!
//! A transcription is the SHA-256 and the length of what arrived, so that a test can see that a
//! file came through whole. Speech is silence, one tenth of a second for each word.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::deliver::Reply;
use crate::multipart::Upload;
use crate::refusal::Refusal;
use crate::text;

const SAMPLES_PER_S: u32 = 8000;
const SAMPLES_PER_WORD: u32 = SAMPLES_PER_S / 10;
const MOST_WORDS: u32 = 10_000;

pub(crate) fn transcription(upload: &Upload) -> Result<Reply, Refusal> {
    let file = upload
        .file
        .as_ref()
        .ok_or_else(|| Refusal::param("file", "`file` is needed."))?;
    let text = format!("sha256 {} bytes {}", file.sha256, file.bytes);
    match upload.fields.get("response_format").map(String::as_str) {
        None | Some("json" | "verbose_json") => Ok(Reply::Json(json!({
            "text": text, "sha256": file.sha256, "bytes": file.bytes,
            "usage": {"type": "tokens", "input_tokens": 0, "output_tokens": 4, "total_tokens": 4},
        }))),
        Some("text") => Ok(Reply::Bytes("text/plain; charset=utf-8", format!("{text}\n").into())),
        Some(_) => Err(Refusal::param(
            "response_format",
            "Must be `json`, `verbose_json` or `text`.",
        )),
    }
}

/// A WAV file (8 bits, one channel), whatever format was asked for; its content-type says so.
pub(crate) fn speech(body: &Value) -> Result<Reply, Refusal> {
    let input = body["input"]
        .as_str()
        .ok_or_else(|| Refusal::param("input", "`input` must be text."))?;
    let words = u32::try_from(text::count(input)).unwrap_or(MOST_WORDS).min(MOST_WORDS);
    let samples = words * SAMPLES_PER_WORD;
    let mut wav = Vec::new();
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + samples).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    wav.extend_from_slice(&[1, 0, 1, 0]);
    wav.extend_from_slice(&SAMPLES_PER_S.to_le_bytes());
    wav.extend_from_slice(&SAMPLES_PER_S.to_le_bytes());
    // One byte a frame, eight bits a sample.
    wav.extend_from_slice(&[1, 0, 8, 0]);
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&samples.to_le_bytes());
    wav.resize(wav.len() + samples as usize, 128);
    Ok(Reply::Bytes("audio/wav", Bytes::from(wav)))
}
