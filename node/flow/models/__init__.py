"""The five models of the flow of chemicals: pure decisions on plain inputs.

| model | question |
|---|---|
| `transport` | is the vehicle where, when and how it should be? |
| `closure` | does what was sent, received, made and used close? |
| `overload` | does more travel, or arrive, than may? |
| `direction` | does it go where it used to go, as often as it used to? |
| `gathering` | does too much come together in one place at one time? |

Nothing here reads a clock, a database or a file: one instant is given, chance is a seed. `catalogue` lists the
models.
"""
