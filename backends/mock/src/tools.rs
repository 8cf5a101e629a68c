//! Which tools an answer calls, and with which arguments.

use serde_json::Value;

use crate::refusal::Refusal;
use crate::schema;

pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// JSON, as text.
    pub(crate) arguments: String,
}

pub(crate) struct Calls {
    pub(crate) calls: Vec<Call>,
    /// A call that the request forced by name ends with `stop`, as at OpenAI.
    pub(crate) finish: &'static str,
}

/// The calls a request gets, or none where it gets words.
///
/// One call of the first tool; two where there are two tools and parallel calls are not refused.
/// Under `auto`, an answer that follows a tool's result is words: else an agent would never end.
pub(crate) fn calls(body: &Value) -> Result<Option<Calls>, Refusal> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let choice = &body["tool_choice"];
    if tools.is_empty() || choice == "none" {
        return Ok(None);
    }
    if let Some(wanted) = choice["function"]["name"].as_str() {
        let tool = tools.iter().find(|tool| tool["function"]["name"] == wanted);
        let tool =
            tool.ok_or_else(|| Refusal::param("tool_choice", "`tool_choice` names a tool that is not in `tools`."))?;
        return Ok(Some(Calls {
            calls: vec![call(0, tool)?],
            finish: "stop",
        }));
    }
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    let answered = last.is_some_and(|message| message["role"] == "tool");
    if answered && choice != "required" {
        return Ok(None);
    }
    let most = if body["parallel_tool_calls"] == false { 1 } else { 2 };
    let calls = tools.iter().take(most).enumerate();
    let calls = calls.map(|(nth, tool)| call(nth, tool)).collect::<Result<_, _>>()?;
    Ok(Some(Calls {
        calls,
        finish: "tool_calls",
    }))
}

fn call(nth: usize, tool: &Value) -> Result<Call, Refusal> {
    let function = &tool["function"];
    let Some(name) = function["name"].as_str() else {
        return Err(Refusal::param("tools", "Each tool needs a `function` with a `name`."));
    };
    let arguments = match schema::instance(&function["parameters"]) {
        object @ Value::Object(_) => object.to_string(),
        _ => "{}".to_owned(),
    };
    Ok(Call {
        id: format!("call_mock_{nth}"),
        name: name.to_owned(),
        arguments,
    })
}

/// The two calls of the scripted tool modes.
pub(crate) fn scripted(count: usize) -> Calls {
    let call = |id: &str, name: &str, arguments: &str| Call {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let mut calls = vec![call("call_a", "f", "{\"x\":1}"), call("call_b", "g", "{\"y\":2}")];
    calls.truncate(count);
    Calls {
        calls,
        finish: "tool_calls",
    }
}
