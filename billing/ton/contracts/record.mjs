// All fixtures as they should be: from a file's name below fixtures/ to its bytes.
import { createHash } from "node:crypto";
import { Cell } from "@ton/core";
import { compile } from "./compile.mjs";
import { configs, CUT } from "./config.mjs";
import { faults, jettonFaults, registryFaults } from "./faults.mjs";
import { histories } from "./history.mjs";
import { histories as jettonHistories } from "./jetton/histories.mjs";
import jettonScenarios from "./jetton/scenarios.mjs";
import jettonStorm from "./jetton/storm.mjs";
import registryScenarios from "./registry/scenarios.mjs";
import attacks from "./scenarios/attacks.mjs";
import fees from "./scenarios/fees.mjs";
import life from "./scenarios/life.mjs";
import limits from "./scenarios/limits.mjs";
import rent from "./scenarios/rent.mjs";
import storm from "./scenarios/storm.mjs";

const THEMES = { attacks, fees, life, limits, rent, storm };

// From the codes that are checked in.
export async function record({ channel, jetton_channel, registry }) {
  const code = Cell.fromBoc(channel)[0];
  const jettonCode = Cell.fromBoc(jetton_channel)[0];
  const registryCode = Cell.fromBoc(registry)[0];
  const files = new Map();
  const hashes = {};
  for (const [prices, config] of Object.entries(configs())) {
    const bytes = config.toBoc({ idx: false, crc32: true });
    files.set(`${prices}.boc`, bytes);
    hashes[prices] = { hash: config.hash().toString("hex"), sha256: createHash("sha256").update(bytes).digest("hex") };
    for (const [theme, scenarios] of Object.entries(THEMES)) {
      const played = await histories(config, scenarios(code, prices === "old" ? 1n : CUT));
      files.set(`${prices}/${theme}.json`, text({ code_hash: code.hash().toString("hex"), scenarios: played }));
    }
    for (const [theme, scenarios] of Object.entries({ jetton: jettonScenarios, jetton_storm: jettonStorm })) {
      const played = await jettonHistories(config, scenarios(jettonCode, prices === "old" ? 1n : CUT));
      files.set(`${prices}/${theme}.json`, text({ code_hash: jettonCode.hash().toString("hex"), scenarios: played }));
    }
    const kept = await histories(config, registryScenarios(registryCode, prices === "old" ? 1n : CUT));
    files.set(`${prices}/registry.json`, text({ code_hash: registryCode.hash().toString("hex"), scenarios: kept }));
  }
  files.set("configs.json", text(hashes));
  for (const { name, edits } of faults) files.set(`faults/${name}.boc`, (await compile("channel", edits)).boc);
  for (const { name, edits } of jettonFaults) {
    files.set(`jetton_faults/${name}.boc`, (await compile("jetton_channel", edits)).boc);
  }
  for (const { name, edits } of registryFaults) {
    files.set(`registry_faults/${name}.boc`, (await compile("registry", edits)).boc);
  }
  files.set("fussy.boc", (await compile("jetton/fussy")).boc);
  return files;
}

const text = (value) => Buffer.from(`${JSON.stringify(value, null, 1)}\n`);
