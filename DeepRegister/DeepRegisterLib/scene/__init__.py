"""The MRML side of DeepRegister: nodes to engine values and back, and the logic that registers nodes. No Qt here."""
