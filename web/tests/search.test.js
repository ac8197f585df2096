import assert from "node:assert/strict";
import { test } from "node:test";
import { Search } from "../search.js";

const tokens = ["The", " c", "at", " sat", "", " on", " CAT", "s", "."];

test("a match may begin and end within tokens, whatever the case", () => {
  const search = new Search(tokens);
  search.find("cat", 0);
  assert.deepEqual([...search.first], [1, 6]);
  assert.deepEqual([...search.last], [2, 6]);
  assert.deepEqual(tokens.map((_, token) => search.of(token)), [-1, 0, 0, -1, -1, -1, 1, -1, -1]);
});

test("it begins at what is in sight, goes round, and first goes to where it is", () => {
  const search = new Search(tokens);
  search.find("at", 4);
  assert.equal(search.length, 3);
  assert.equal(search.at, 2);
  search.go(1);
  assert.equal(search.token, 6);
  search.go(1);
  assert.equal(search.token, 2);
  search.go(-1);
  search.go(-1);
  assert.equal(search.token, 3);
  search.find("at", 8);
  assert.equal(search.at, 0);
});

test("a colon and a number are a token, where there is one", () => {
  const search = new Search(["a", ":7", "b"]);
  search.find(":2", 0);
  assert.deepEqual([[...search.first], [...search.last], search.at], [[2], [2], 0]);
  search.find(":7", 0);
  assert.deepEqual([...search.first], [1]);
});

test("no words and no match", () => {
  const search = new Search(tokens);
  search.find("", 0);
  assert.deepEqual([search.length, search.at, search.of(1)], [0, -1, -1]);
  search.find("dog", 0);
  assert.deepEqual([search.length, search.at, search.of(1)], [0, -1, -1]);
});

test("letters that grow in lower case do not shift what follows", () => {
  const search = new Search(["İİ", " x", "İ", "y"]);
  search.find("y", 0);
  assert.deepEqual([...search.first], [3]);
});
