"""Taps: where a model's queries and keys can be seen on their way into its own attention kernel.

A tap never computes the model's output. It lets the kernel run and takes down the operands (`call.Call`),
which are then proven on sampled rows: they must give the output that the kernel gave, or the call is refused.

- `stack`: which module of the recorded model is running, and where a forward begins and ends.
- `interface`: transformers' attention interface, which every attention module there asks at each call.
- `function`: `scaled_dot_product_attention` in plain PyTorch models; and the watch for attention that no tap
  explains.
- `own`: transformers models that multiply queries and keys themselves (BLOOM, MPT).
- `mask`: from the masks these carry to spans.
- `growth`: from the calls of one forward after another to growing sequences; `batch`: what is kept of these;
  `fingerprint`: by which keys are known again.
- `logits`: what a forward returned about the next token, summarised.
- `host`: queries and keys on their way into host memory.
- `statistics`: what is kept of a call where its queries and keys are not.
"""
