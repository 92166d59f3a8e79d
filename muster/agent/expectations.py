"""What was expected where something does not fit, and what stood there, in the owner's language.

Whoever finds a misfit says so in English, as programs read it too; here are the same words in
Chinese. What is not listed (a path, a value, what a parser said) is shown as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from muster.wire.errors import Locale

_ZH: Mapping[str, str] = {
    # settings
    "a number of seconds above 0": "大于 0 的秒数",
    "at least 1": "不小于 1",
    "a port, 0 to 65535": "端口号，0 到 65535",
    "a URL such as wss://dispatcher.example.com": "形如 wss://dispatcher.example.com 的地址",
    "at least one URL": "至少一个地址",
    "name=value, several separated by commas": "名=值，多个以逗号分隔",
    "at most 32": "最多 32 个",
    "name and value of at most 256 bytes": "名和值各不超过 256 字节",
    "a text": "文本",
    "a path": "路径",
    "true or false": "true 或 false",
    "a whole number": "整数",
    "a number": "数字",
    "one of them": "其中之一",
    "none": "未给出",
    "a file that can be read": "可以读取的文件",
    "a file, as certificate and key go together": "一个文件：证书与私钥须同时给出",
    "a token in it": "内有令牌的文件",
    "an empty file": "空文件",
    "a directory that can be written": "可以写入的目录",
    "a free port on 127.0.0.1": "127.0.0.1 上空闲的端口",
    'a name, a colon and a size in GiB for each card, as "RTX 4090:24,RTX 3090:24"': (
        "每张卡写名称、冒号和显存 GiB 数，如 “RTX 4090:24,RTX 3090:24”"
    ),
    # models
    "a folder that can be read": "可以读取的文件夹",
    "a JSON object": "JSON 对象",
    "TOML": "TOML 格式",
    "more": "更大",
    "nested too deeply": "嵌套过深",
    "a text that is not empty": "非空文本",
    "an id given once": "不重复的 ID",
    "something else": "其他内容",
    "nothing": "未填写",
    "string": "字符串",
    "boolean": "true 或 false",
    "object": "对象",
    "array": "数组",
    "number": "数字",
    "number >= 1": "不小于 1 的数字",
    "number > 0": "大于 0 的数字",
    "integer >= 0": "不小于 0 的整数",
    "integer >= 1": "不小于 1 的整数",
    # the local API
    "a whole number, at least 0": "不小于 0 的整数",
    "a string or an object with code and message": "字符串，或含 code 和 message 的对象",
    "zh or en": "zh 或 en",
}

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(english), chinese)
    for english, chinese in (
        (r"one of (.+)", r"以下之一：\1"),
        (r"the key (\w+) or (\w+)", r"字段名 \1 或 \2"),
        (r"the key (\w+)", r"字段名 \1"),
        (r"at most (\d+) bytes", r"不超过 \1 字节"),
        (r"at most (\d+) cards", r"最多 \1 张卡"),
        (r"(\d+) cards", r"\1 张卡"),
        (r"a size above 0 and up to (\S+) GiB", r"大于 0、不超过 \1 的 GiB 数"),
        (r"a language, as (\w+) needs it", r"一种语言（\1 需要它）"),
        (r"seconds, 0 to (\d+)", r"秒数，0 到 \1"),
        (r"(.+), given in (.+) too", r"\1，在 \2 中已经给出"),
    )
)


def said(text: str, locale: Locale) -> str:
    """An expectation, or what was found instead, in this language."""
    if locale == "en":
        return text
    if text in _ZH:
        return _ZH[text]
    for english, chinese in _PATTERNS:
        if (found := english.fullmatch(text)) is not None:
            return found.expand(chinese)
    return text
