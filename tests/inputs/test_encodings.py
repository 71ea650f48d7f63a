"""The encoding of a text that is no UTF-8: told where its bytes leave hardly a doubt, and not guessed elsewhere."""

from __future__ import annotations

import random

import pytest

from unsaf_async.inputs.lists.encodings import encoding_of

TEXTS = {
    "cp1252": (
        "img/été.jpg\n",
        "id,image,t\n1,img/été.jpg,“déjà” – 5 €\n",
        "Straße,größe\nÄpfel,ÖL\n",
        "x,ça\nà la carte,n°5\n",
        "año,señor ¿Qué?\n",
        "n,«Noël»\n",
    ),
    "gb18030": (
        "id,image,标题\n1,img/猫.png,一只猫在桌子上睡觉\n",
        "图片,问题\na.png,这张图片里有几只狗？\n",
        "image,label\na.png,猫\nb.png,狗\nc.png,熊猫\n",
    ),
    "big5": ("id,image,標題\n1,img/a.png,一隻貓在桌子上睡覺\n", "圖片,問題\na.png,這張圖片裡有幾隻狗？\n"),
    "cp949": ("id,image,제목\n1,a.png,고양이가 책상 위에서 자고 있다\n", "질문\n이 사진에 개가 몇 마리 있습니까?\n"),
    "cp932": ("id,image,題\n1,img/猫.png,猫が机の上で寝ています\n", "image\nimg/テスト.png\n"),
    "euc_jp": ("id,image,題\n1,img/猫.png,猫が机の上で寝ています\n",),
    "cp1251": ("id,image,название\n1,img/a.png,Кошка спит на столе\n", "q\nСколько собак на фото?\n"),
    "koi8_r": ("id,image,t\n1,img/a.png,Кошка спит на столе\n",),
}


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_the_bytes_of_ordinary_texts_tell_their_encoding(encoding: str, text: str) -> None:
    assert encoding_of(text.encode(encoding)) == encoding


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1250", "Příliš žluťoučký kůň\n"),
        ("cp1253", "Η γάτα κοιμάται στο τραπέζι\n"),
        ("cp1255", "החתול ישן על השולחן\n"),
        ("cp1256", "القطة نائمة على الطاولة\n"),
        ("cp874", "แมวนอนบนโต๊ะ\n"),
        ("mac-roman", "déjà vu façade\n"),
    ],
)
def test_an_encoding_that_is_not_known_is_not_taken_for_another(encoding: str, text: str) -> None:
    assert encoding_of(text.encode(encoding)) == ""


def test_random_bytes_are_in_no_encoding() -> None:
    draw = random.Random(0)
    texts = [bytes(draw.choice(range(32, 256)) for _ in range(100)) for _ in range(200)]
    assert [encoding_of(each) for each in texts] == [""] * 200
    assert encoding_of(b"text \x00 caf\xe9 ") == ""
