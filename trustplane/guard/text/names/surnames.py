"""Chinese surnames, and characters that a given name does not hold."""

from __future__ import annotations

__all__ = ["COMPOUND", "LATIN_DOT", "RARE", "SINGLE", "STOP", "SURNAME", "TRADITIONAL"]

# The census report of 2020 names the first hundred; the others are those of 常用姓 lists, by frequency.
SINGLE = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔"
    "谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔赖文庞樊兰殷施洪"
    "翟安颜倪牛温季俞章鲁葛伍申尤毕聂焦柳邢岳齐梅庄辛管祝左涂谷时舒耿卜路詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍"
    "位霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边"
)
# Surnames that cues alone do not trust, since most of them are everyday words; the tagger's score decides.
RARE = (
    "萧肖阎傅邬麦佟沙储靖丛狄卓蔺屠蒙池阴佘冷艾郁古蒲邰咸籍宗刁巩牟桑连米窦滕缪全班仇栾戚祁符喻麻支初楚甯木粟练迟惠鄢"
)
# fmt: off
COMPOUND = (
    "欧阳", "司马", "上官", "诸葛", "夏侯", "皇甫", "尉迟", "公孙", "慕容", "令狐", "司徒",
    "东方", "南宫", "西门", "长孙", "宇文", "端木", "百里", "轩辕", "独孤", "闻人", "申屠",
    "太史", "淳于", "单于", "钟离", "呼延", "万俟", "澹台", "赫连", "濮阳", "公羊", "仲孙",
    "司空", "东郭", "南门", "拓跋", "纳兰", "叶赫", "完颜", "闾丘", "公冶", "鲜于", "左丘",
    "歐陽", "司馬", "諸葛", "上官", "長孫", "軒轅", "鍾離", "東方", "公孫", "獨孤", "尉遲", "東郭",
)
# fmt: on
TRADITIONAL = (
    "張劉陳楊黃趙吳孫馬羅鄭謝許韓鄧馮葉蘇呂盧鍾譚陸範賈鄒閻龍賀"
    "顧龔萬錢嚴湯賴龐蘭顏溫魯畢聶齊莊關淩費紀歐項陽衛單寧華車邊蔣蕭鄔麥竇喬韋簡闕"
)
STOP = (
    "今是的和与跟有住来从要想了我他她你您也就都不电手身男女年因请说到去为被把对及等先已将会能患现需入出这那在吗呢吧啊"
    "們们岁歲月日号號并且或但而很最更可以曾给让使用及其之或于某些什么怎"
)
SURNAME = f"(?:{'|'.join(COMPOUND)}|[{SINGLE}{TRADITIONAL}])"
"""Pattern of one surname, compound ones first."""
LATIN_DOT = "·‧・•"
"""What stands between the parts of a minority's or a foreign name written in Chinese."""
