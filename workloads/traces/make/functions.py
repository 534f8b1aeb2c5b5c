"""Prints a C file of many functions, for the compiler to work on."""

TEMPLATE = """\
struct point{n} {{ int x, y; double weight[{size}]; }};
static int visit{n}(struct point{n} *points, int count)
{{
    int sum = 0;
    for (int i = 0; i < count; i++) {{
        switch (points[i].x % 5) {{
        case 0: sum += points[i].y * {n}; break;
        case 1: sum ^= points[i].x + {n}; break;
        case 2: points[i].weight[i % {size}] *= 1.5; break;
        default: sum -= (int)points[i].weight[0];
        }}
    }}
    return sum;
}}
int f{n}(struct point{n} *points, int count)
{{
    return visit{n}(points, count) + visit{n}(points + 1, count - 1);
}}
"""

for number in range(12):
    print(TEMPLATE.format(n=number, size=number % 7 + 1))
