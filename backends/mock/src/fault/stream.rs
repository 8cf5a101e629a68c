//! Event streams as steps, with the faults that strike inside a stream.

use std::iter;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::{Fault, Plan};
use crate::script::Step;
use crate::sse::{Event, Events, Framing, Part};
use crate::wire::Wire;

/// Content events that pass before a stream breaks.
const BEFORE_BREAK: usize = 2;
/// Lets what was sent arrive before the connection is cut.
const BEFORE_CUT: Duration = Duration::from_millis(20);
const HELD_OPEN: Duration = Duration::from_secs(3);
const LINE_PIECE: &[u8] = &[b'a'; 16 << 10];

/// The steps that send `events` as `plan` wants them.
pub(crate) fn steps(events: Events, plan: Plan, delay: Duration) -> Box<dyn Iterator<Item = Step> + Send> {
    let delay = plan.slow.unwrap_or(delay);
    let opening = opening(&plan);
    let closing = closing(&plan);
    let split = plan.has(Fault::Split);
    let mut writer = Writer {
        framing: framing(&plan),
        plan,
        delay,
        contents: 0,
        broken: false,
    };
    let middle = events.map_while(move |event| writer.event(event)).flatten();
    let all = opening.into_iter().chain(middle).chain(closing);
    if split {
        Box::new(all.flat_map(bytewise))
    } else {
        Box::new(all)
    }
}

/// The bytes of the same stream in one piece, where nothing in the plan breaks it.
pub(crate) fn whole(events: Events, plan: Plan) -> Vec<u8> {
    let mut bytes = Vec::new();
    for step in steps(events, plan, Duration::ZERO) {
        match step {
            Step::Write(more) => bytes.extend_from_slice(&more),
            Step::Pause(_) | Step::Flush => {}
            Step::Hang | Step::Close | Step::Reset => break,
        }
    }
    bytes
}

fn framing(plan: &Plan) -> Framing {
    Framing {
        newline: match () {
            () if plan.has(Fault::Crlf) => "\r\n",
            () if plan.has(Fault::Cr) => "\r",
            // So does the true one.
            () if plan.wire == Wire::Gemini => "\r\n",
            () => "\n",
        },
        space: if plan.has(Fault::NoSpace) { "" } else { " " },
        two_lines: plan.has(Fault::MultiLine),
    }
}

fn opening(plan: &Plan) -> Vec<Step> {
    let mut steps = Vec::new();
    if plan.has(Fault::Bom) {
        steps.push(Step::write("\u{feff}"));
    }
    if plan.has(Fault::Comment) {
        steps.push(Step::write(": MOCK PROCESSING\n\n"));
    }
    if plan.has(Fault::EmptyEvent) {
        steps.push(Step::write("event: ping\ndata: {\"type\":\"ping\"}\n\n"));
    }
    if plan.has(Fault::AzureFilter) {
        let filter = json!({
            "id": "", "object": "", "created": 0, "model": "", "choices": [],
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
        });
        steps.push(Step::write(format!("data: {filter}\n\n")));
    }
    steps
}

fn closing(plan: &Plan) -> Vec<Step> {
    if plan.has(Fault::HoldOpen) {
        return vec![Step::Pause(HELD_OPEN)];
    }
    Vec::new()
}

fn bytewise(step: Step) -> Vec<Step> {
    let Step::Write(bytes) = step else { return vec![step] };
    let one = |at| [Step::Write(bytes.slice(at..at + 1)), Step::Flush];
    (0..bytes.len()).flat_map(one).collect()
}

struct Writer {
    framing: Framing,
    plan: Plan,
    delay: Duration,
    contents: usize,
    broken: bool,
}

type Steps = Box<dyn Iterator<Item = Step> + Send>;

impl Writer {
    /// The steps of one event, or none once the stream is broken.
    fn event(&mut self, event: Event) -> Option<Steps> {
        if self.broken {
            return None;
        }
        let late = self.contents == BEFORE_BREAK || event.part == Part::Finish;
        if (late || self.plan.has(Fault::ErrFirst))
            && let Some(steps) = self.break_off()
        {
            self.broken = true;
            return Some(steps);
        }
        Some(Box::new(self.intact(event).into_iter()))
    }

    fn intact(&mut self, event: Event) -> Vec<Step> {
        let mut steps = Vec::new();
        match event.part {
            Part::Content => {
                self.contents += 1;
                if !self.delay.is_zero() {
                    steps.push(Step::Pause(self.delay));
                }
                steps.push(self.write(&event));
                if self.plan.has(Fault::Comment) {
                    steps.push(Step::write(": keep-alive\n\n"));
                }
            }
            Part::Finish if self.plan.has(Fault::Bare) => {
                steps.push(Step::write(format!("{}\n\n", event.data)));
            }
            Part::Done if self.plan.has(Fault::NoDone) => {}
            Part::Done if self.plan.has(Fault::Unterminated) => {
                let text = self.framing.encode(&event);
                steps.push(Step::write(text.trim_end().to_owned()));
            }
            _ => steps.push(self.write(&event)),
        }
        steps
    }

    /// How this plan breaks the stream, if it does.
    fn break_off(&self) -> Option<Steps> {
        let error = self.error();
        let steps = match () {
            () if self.plan.has(Fault::Cut) => vec![Step::Pause(BEFORE_CUT), Step::Reset],
            () if self.plan.has(Fault::CutFin) => vec![Step::Pause(BEFORE_CUT), Step::Close],
            () if self.plan.has(Fault::CleanCut) => Vec::new(),
            () if self.plan.has(Fault::Stall) => vec![Step::Hang],
            () if self.plan.has(Fault::ErrFirst) || self.plan.has(Fault::ErrDataNoDone) => {
                vec![self.write(&error)]
            }
            () if self.plan.has(Fault::ErrData) => {
                vec![self.write(&error), self.write(&Event::done())]
            }
            () if self.plan.has(Fault::ErrEvent) => {
                let named = Event {
                    name: Some("error"),
                    ..error
                };
                vec![self.write(&named), self.write(&Event::done())]
            }
            () if self.plan.has(Fault::ErrChoices) => {
                let chunk = json!({
                    "id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 1,
                    "model": "mock",
                    "error": {"code": "server_error", "message": "Provider disconnected"},
                    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
                });
                let chunk = Event::new(Part::Finish, &chunk);
                vec![self.write(&chunk), self.write(&Event::done())]
            }
            () if self.plan.has(Fault::EndlessLine) => {
                let start = Step::write("data: {\"id\":\"");
                let piece = || Step::write(LINE_PIECE);
                return Some(Box::new(iter::once(start).chain(iter::repeat_with(piece))));
            }
            () => return None,
        };
        Some(Box::new(steps.into_iter()))
    }

    /// An error as an event of the API that was asked.
    fn error(&self) -> Event {
        let wire = self.plan.wire;
        let (status, message, name) = match wire {
            Wire::OpenAi => (StatusCode::BAD_GATEWAY, "upstream exploded", None),
            Wire::Anthropic => (overloaded(), "Overloaded", Some("error")),
            Wire::Gemini => (StatusCode::SERVICE_UNAVAILABLE, "The model is overloaded.", None),
        };
        let error = wire.error(status, message, "server_error", Some("upstream_error"));
        Event {
            name,
            ..Event::new(Part::Finish, &error)
        }
    }

    fn write(&self, event: &Event) -> Step {
        Step::write(self.framing.encode(event))
    }
}

/// Anthropic's own number.
fn overloaded() -> StatusCode {
    StatusCode::from_u16(529).expect("a status has three digits")
}

/// A unary body under the same faults: it breaks in the middle.
pub(crate) fn unary(body: Vec<u8>, plan: &Plan) -> Vec<Step> {
    let body = bytes::Bytes::from(body);
    let half = body.slice(..body.len() / 2);
    let mut steps: Vec<_> = plan.slow.map(Step::Pause).into_iter().collect();
    match () {
        () if plan.has(Fault::Cut) => {
            steps.extend([Step::Write(half), Step::Pause(BEFORE_CUT), Step::Reset]);
        }
        () if plan.has(Fault::CutFin) => {
            steps.extend([Step::Write(half), Step::Pause(BEFORE_CUT), Step::Close]);
        }
        () if plan.has(Fault::Stall) => steps.extend([Step::Write(half), Step::Hang]),
        () if plan.has(Fault::Split) => steps.extend(bytewise(Step::Write(body))),
        () => steps.push(Step::Write(body)),
    }
    steps
}
