map(select(.paid) | {customer, note, total: ([.lines[] | .n * .price] | add)})
| group_by(.customer)
| map({customer: .[0].customer, orders: length, total: (map(.total) | add),
       words: (map(.note | split(" ")[]) | unique)})
| sort_by(-.total)
