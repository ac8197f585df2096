# What lookbehind takes from the top of transformers, which binds every model there is: 17 of the 50 seconds
# that pyright took. The types are those of the modules named here.
from transformers.modeling_utils import PreTrainedModel as PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModelForCausalLM as AutoModelForCausalLM
from transformers.models.auto.tokenization_auto import AutoTokenizer as AutoTokenizer
from transformers.models.llama.configuration_llama import LlamaConfig as LlamaConfig
from transformers.models.llama.modeling_llama import LlamaModel as LlamaModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase as PreTrainedTokenizerBase

__version__: str
