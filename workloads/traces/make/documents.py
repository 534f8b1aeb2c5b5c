"""Parses JSON and Python source, keeps some of the results, drops the others."""

import ast
import json

kept = []
for round_number in range(5):
    documents = [
        {"id": i, "name": f"name {i}", "tags": [f"t{j}" for j in range(i % 7)], "price": i * 1.5}
        for i in range(300)
    ]
    parsed = json.loads(json.dumps(documents))
    kept.extend(parsed[round_number::9])
    source = "\n".join(f"def f{i}(a, b={i}):\n    return [a + {i}, b]" for i in range(40))
    tree = ast.parse(source)
    kept.append([node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)][::5])
print(len(kept))
