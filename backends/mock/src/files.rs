//! `/v1/files`: what was uploaded, in memory.
//!
//! The last 100 files are listed; content over 1 MiB is not kept, and asking for it is refused.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::deliver::Reply;
use crate::journal::now_ms;
use crate::multipart::{self, Upload};
use crate::refusal::Refusal;

const FILES: usize = 100;

#[derive(Default)]
pub(crate) struct Files(Mutex<VecDeque<Stored>>);

struct Stored {
    entry: Value,
    content: Option<Bytes>,
}

impl Files {
    pub(crate) fn upload(&self, upload: Upload, id: u64) -> Result<Value, Refusal> {
        let purpose = upload.fields.get("purpose");
        let purpose = purpose.ok_or_else(|| Refusal::param("purpose", "`purpose` is needed."))?;
        let file = upload.file.ok_or_else(|| Refusal::param("file", "`file` is needed."))?;
        let entry = entry(id, &file.filename, file.bytes, purpose, &file.sha256);
        self.keep(entry.clone(), file.content.map(Bytes::from));
        Ok(entry)
    }

    /// Stores what a batch wrote, and names it.
    pub(crate) fn write(&self, id: u64, content: String) -> String {
        let entry = entry(id, "output.jsonl", content.len() as u64, "batch_output", "");
        self.keep(entry, Some(Bytes::from(content)));
        name(id)
    }

    pub(crate) fn list(&self) -> Value {
        let data: Vec<_> = self.files().iter().map(|file| file.entry.clone()).collect();
        json!({"object": "list", "data": data, "has_more": false})
    }

    pub(crate) fn retrieve(&self, id: &str) -> Result<Value, Refusal> {
        let files = self.files();
        let file = files.iter().find(|file| file.entry["id"] == id);
        Ok(file.ok_or_else(|| Refusal::not_found("file"))?.entry.clone())
    }

    pub(crate) fn content(&self, id: &str) -> Result<Bytes, Refusal> {
        let files = self.files();
        let file = files.iter().find(|file| file.entry["id"] == id);
        let file = file.ok_or_else(|| Refusal::not_found("file"))?;
        file.content
            .clone()
            .ok_or_else(|| Refusal::too_large(multipart::KEPT_BYTES))
    }

    pub(crate) fn download(&self, id: &str) -> Result<Reply, Refusal> {
        Ok(Reply::Bytes("application/octet-stream", self.content(id)?))
    }

    pub(crate) fn delete(&self, id: &str) -> Result<Value, Refusal> {
        let mut files = self.files();
        let at = files.iter().position(|file| file.entry["id"] == id);
        files.remove(at.ok_or_else(|| Refusal::not_found("file"))?);
        Ok(json!({"id": id, "object": "file", "deleted": true}))
    }

    fn keep(&self, entry: Value, content: Option<Bytes>) {
        let mut files = self.files();
        if files.len() == FILES {
            files.pop_front();
        }
        files.push_back(Stored { entry, content });
    }

    fn files(&self) -> MutexGuard<'_, VecDeque<Stored>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(id: u64, filename: &str, bytes: u64, purpose: &str, sha256: &str) -> Value {
    json!({
        "id": name(id), "object": "file", "bytes": bytes, "created_at": now_ms() / 1000,
        "filename": filename, "purpose": purpose, "status": "processed", "sha256": sha256,
    })
}

fn name(id: u64) -> String {
    format!("file-mock-{id}")
}
