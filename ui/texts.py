"""Every text of the page, in English and Turkish; numbers as each language writes them."""

import re

LANGUAGES = {"English": "en", "Türkçe": "tr"}  # each by its own name
ENGLISH = "en"
# Key -> English, Turkish.
TEXTS = {
    "title": ("Which class, and why?", "Hangi sınıf, neden?"),
    "intro": (
        "Show a picture to the models trained here. Each says what it sees, how sure it is, and which places of the "
        "picture are evidence for that.",
        "Burada eğitilen modellere bir resim gösterin. Her biri ne gördüğünü, ne kadar emin olduğunu ve resmin "
        "nerelerinin buna kanıt olduğunu söyler.",
    ),
    "language": ("Language", "Dil"),
    "tab_try": ("Try it", "Deneyin"),
    "tab_wrong": ("Where is it wrong?", "Nerede yanılıyor?"),
    "tab_plots": ("How good are the models?", "Modeller ne kadar iyi?"),
    "tab_draw": ("Draw", "Çizim"),
    "tab_camera": ("Camera", "Kamera"),
    "tab_photo": ("Photo", "Fotoğraf"),
    "tab_test": ("Test image", "Test resmi"),
    "hint": (
        "Draw a digit, show one to the camera, upload a photo, or pick a test image: the answer appears here.",
        "Bir rakam çizin, kameraya gösterin, bir fotoğraf yükleyin veya bir test resmi seçin: yanıt burada belirir.",
    ),
    # Drawing
    "canvas": ("Square to draw a digit on", "Rakam çizme alanı"),
    "clear": ("Clear", "Temizle"),
    "undo": ("Undo", "Geri al"),
    "pen_width": ("Pen width", "Kalem kalınlığı"),
    "glance": ("As the model sees it: {answer}", "Modelin gördüğü: {answer}"),
    "the_drawing": ("the drawing", "çizim"),
    # Camera
    "start": ("Start the camera", "Kamerayı başlat"),
    "stop": ("Stop", "Durdur"),
    "hold": ("Take this picture", "Bu resmi al"),
    "live_maps": ("With heat maps (slower)", "Isı haritalarıyla (daha yavaş)"),
    "rate": ("pictures a second", "resim/saniye"),
    "no_camera": (
        "The browser gives no camera. It asks for permission first, and gives one only to https:// or localhost.",
        "Tarayıcı kamera vermiyor. Önce izin ister; kamerayı yalnızca https:// veya localhost adreslerine açar.",
    ),
    "lost": ("The page no longer answers. Reload it.", "Sayfa artık yanıt vermiyor. Yeniden yükleyin."),
    "the_frame": ("the camera's picture", "kameranın resmi"),
    # Photo and test images
    "photo": ("A picture file of at most {limit}", "En çok {limit} büyüklüğünde bir resim dosyası"),
    "tests": (
        "The first test image of each class; no model was trained on them. Data: {data}.",
        "Her sınıfın ilk test resmi; hiçbir model bunlarla eğitilmedi. Veri: {data}.",
    ),
    "no_tests": (
        "No test images: {data} is not on this computer. `--data-dir` says where it is.",
        "Test resmi yok: {data} bu bilgisayarda değil. Yerini `--data-dir` belirtir.",
    ),
    "unknown_data": ("the model's data set", "modelin veri kümesi"),
    "the_test_image": ("the test image of {name}", "{name} test resmi"),
    # Settings
    "model": ("Model", "Model"),
    "second": ("Second model, side by side", "Yan yana ikinci model"),
    "none": ("none", "yok"),
    "method": ("Method of explanation", "Açıklama yöntemi"),
    # Answer
    "two": ("between {first} and {second}", "{first} ile {second} arasında"),
    "three": ("{first}, {second} or {third}", "{first}, {second} veya {third}"),
    "unsure": ("unsure, perhaps {first}", "emin değil, belki {first}"),
    "number": ("The digits found, read in order. The largest:", "Bulunan rakamlar, sırayla okundu. En büyüğü:"),
    "foreign_digit": ("This does not look like a digit.", "Bu bir rakama benzemiyor."),
    "foreign": ("This looks like none of the classes.", "Bu, sınıfların hiçbirine benzemiyor."),
    "rest": ("all others below {limit}", "diğerlerinin hepsi {limit} altında"),
    "probabilities": ("The most probable classes", "En olası sınıflar"),
    "details": ("Details", "Ayrıntılar"),
    "detail_model": ("Model", "Model"),
    "detail_file": ("File", "Dosya"),
    "detail_accuracy": ("Accuracy on the test images", "Test resimlerindeki doğruluk"),
    "detail_time": ("Time for the answer", "Yanıt süresi"),
    "milliseconds": ("{number} milliseconds", "{number} milisaniye"),
    "seen": ("What the model sees: {height} x {width} pixels", "Modelin gördüğü: {height} x {width} piksel"),
    "as_mnist": (", white on black and centered, as in MNIST", ", MNIST'teki gibi siyah üzerine beyaz ve ortalanmış"),
    "was_dark": (" (it was dark on light)", " (aslı açık üzerine koyuydu)"),
    "seen_alt": ("the picture as the model takes it", "modelin aldığı biçimiyle resim"),
    "found": ("The digits found", "Bulunan rakamlar"),
    "found_alt": ("the picture with a frame around each digit", "her rakamı çerçevelenmiş resim"),
    "why": (
        "Why {name}: the brighter and yellower a place, the stronger its evidence for {name} ({method})",
        "Neden {name}: bir yer ne kadar parlak ve sarıysa, {name} için o kadar güçlü kanıttır ({method})",
    ),
    "why_alt": ("heat map of the evidence for {name}", "{name} için kanıtların ısı haritası"),
    "reaction": (
        "The brighter and yellower a place, the more the model reacts to it, whatever the class ({method})",
        "Bir yer ne kadar parlak ve sarıysa, model ona sınıftan bağımsız olarak o kadar güçlü tepki verir ({method})",
    ),
    "reaction_alt": ("heat map of the model's reaction", "modelin tepkisinin ısı haritası"),
    "least_evidence": ("no evidence", "kanıt yok"),
    "most_evidence": ("most evidence", "en güçlü kanıt"),
    "least_reaction": ("no reaction", "tepki yok"),
    "most_reaction": ("most reaction", "en güçlü tepki"),
    "legend_alt": ("dark purple over red to yellow", "koyu mordan kırmızı üzerinden sarıya"),
    "no_evidence": (
        "{method} finds no evidence for {name} in the picture.",
        "{method} resimde {name} için kanıt bulamıyor.",
    ),
    "no_map": (
        "No heat map: that needs TensorFlow, one softmax at the model's end, and maps of 3 x 3 cells or more.",
        "Isı haritası yok: bunun için TensorFlow, modelin sonunda tek bir softmax ve en az 3 x 3 hücreli haritalar "
        "gerekir.",
    ),
    # Keeping pictures
    "right": ("Right: keep it", "Doğru: sakla"),
    "truth": ("Wrong, it was …", "Yanlış, doğrusu …"),
    "wrong": ("Keep it as that", "Böyle sakla"),
    "nothing_to_keep": ("There is no picture to keep.", "Saklanacak resim yok."),
    "choose_truth": ("Choose what it was first.", "Önce doğrusunu seçin."),
    "kept": (
        "Kept as {name}. Pictures in {folder} by now: {count}.",
        "{name} olarak saklandı. {folder} içindeki resim sayısı: {count}.",
    ),
    # Where is it wrong?
    "matrix_intro": (
        "A row per true class, a column per predicted one. A click on a number shows those test images, and what the "
        "model took for evidence.",
        "Her satır bir gerçek sınıf, her sütun bir tahmin edilen sınıf. Bir sayıya tıklayınca o test resimleri ve "
        "modelin kanıt saydığı yerler görünür.",
    ),
    "matrix_corner": ("true \\ predicted", "gerçek \\ tahmin"),
    "matrix_cell": ("{count} of {truth}, predicted {predicted}", "gerçek {truth}, tahmin {predicted}: {count}"),
    "matrix_no_data": (
        "{data} is not on this computer, so there are no test images to show. `--data-dir` says where it is.",
        "{data} bu bilgisayarda olmadığı için gösterilecek test resmi yok. Yerini `--data-dir` belirtir.",
    ),
    "matrix_no_probabilities": (
        "The model's answers to the test images are not stored yet: run error_analysis.py on {file} first.",
        "Modelin test resimlerine yanıtları henüz saklanmamış: önce {file} için error_analysis.py çalıştırın.",
    ),
    "cell_title": ("True class {truth}, predicted {predicted}: {count}", "Gerçek {truth}, tahmin {predicted}: {count}"),
    "cell_wrong_order": ("The surest errors first.", "En emin olunan yanlışlar önce."),
    "cell_right_order": ("The least sure first.", "En az emin olunanlar önce."),
    "cell_part": ("The first {shown} are shown.", "İlk {shown} tanesi gösteriliyor."),
    "cell_caption": ("Test image {number}: {name} with {probability}", "Test resmi {number}: {probability} ile {name}"),
    # Plots in a model's folder
    "confusion_matrix": (
        "### Confusion matrix\nWhich class was predicted as which: a row per true class, a column per predicted one. "
        "A perfect model has everything on the diagonal.",
        "### Hata matrisi\nHangi sınıf hangisi olarak tahmin edildi: her satır bir gerçek sınıf, her sütun bir tahmin. "
        "Kusursuz bir modelde her şey köşegendedir.",
    ),
    "training_curves": (
        "### Training curves\nLoss and accuracy, epoch by epoch. Where training goes on improving and validation does "
        "not, the model overfits.",
        "### Eğitim eğrileri\nDönem dönem kayıp ve doğruluk. Eğitim iyileşirken doğrulama iyileşmiyorsa model "
        "aşırı öğreniyordur.",
    ),
    "model_comparison": (
        "### All models of this folder side by side\nTheir accuracy, size and latency.",
        "### Bu klasörün tüm modelleri yan yana\nDoğrulukları, büyüklükleri ve gecikmeleri.",
    ),
    "no_plot": ("This plot is not in the model's folder.", "Bu grafik modelin klasöründe yok."),
    # Methods of explanation: what a bright place means
    "grad-cam": (
        "The parts of the picture whose features raise the score of the class most on average.",
        "Özellikleri sınıfın puanını ortalamada en çok yükselten yerler.",
    ),
    "grad-cam++": (
        "Like Grad-CAM, counting only what raises the score, and every place for itself.",
        "Grad-CAM gibi; yalnızca puanı yükselteni, her yeri ayrı ayrı sayar.",
    ),
    "hires-cam": (
        "Each place's own contribution to the score: its features times their weights.",
        "Her yerin puana kendi katkısı: özellikleri çarpı ağırlıkları.",
    ),
    "layer-cam": (
        "Like HiResCAM, leaving out all that lowers the score.",
        "HiResCAM gibi; puanı düşüren her şeyi dışarıda bırakır.",
    ),
    "eigen-cam": (
        "Where the model reacts most strongly, for whatever class; it may miss the reason.",
        "Sınıftan bağımsız olarak modelin en güçlü tepki verdiği yerler; gerekçeyi kaçırabilir.",
    ),
    "score-cam": (
        "Shows the model parts of the picture and keeps those it still scores highly. Slow.",
        "Modele resmin parçalarını gösterir, puanı yüksek kalanları tutar. Yavaş.",
    ),
    "occlusion": (
        "Covers one patch after the other; bright where the score falls most. Slow.",
        "Resmi parça parça örter; puanın en çok düştüğü yer parlaktır. Yavaş.",
    ),
    "expected-gradients": (
        "The pixels whose change would change the score most, averaged on the way to the picture from empty ones.",
        "Değişmesi puanı en çok değiştirecek pikseller; boş görüntülerden resme giden yol boyunca ortalaması alınır.",
    ),
    "aggregate": (
        "The weighted mean of Grad-CAM and expected gradients: the places that both find important.",
        "Grad-CAM ile expected gradients ağırlıklı ortalaması: ikisinin de önemli bulduğu yerler.",
    ),
}
# Names of networks, data sets and classes in Turkish; others stay as they are.
TERMS = {
    "custom CNN": "özel CNN",
    "CNN from scratch": "sıfırdan CNN",
    "CNN trained longer": "uzun eğitilmiş CNN",
    "CIFAR-100, 20 superclasses": "CIFAR-100, 20 üst sınıf",
    "aquatic mammals": "su memelileri",
    "fish": "balıklar",
    "flowers": "çiçekler",
    "food containers": "yiyecek kapları",
    "fruit and vegetables": "meyve ve sebzeler",
    "household electrical devices": "elektrikli ev aletleri",
    "household furniture": "ev mobilyaları",
    "insects": "böcekler",
    "large carnivores": "büyük etçiller",
    "large man-made outdoor things": "dış mekândaki büyük yapılar",
    "large natural outdoor scenes": "büyük doğa manzaraları",
    "large omnivores and herbivores": "büyük hepçiller ve otçullar",
    "medium mammals": "orta boy memeliler",
    "non-insect invertebrates": "böcek olmayan omurgasızlar",
    "people": "insanlar",
    "reptiles": "sürüngenler",
    "small mammals": "küçük memeliler",
    "trees": "ağaçlar",
    "vehicles 1": "taşıtlar 1",
    "vehicles 2": "taşıtlar 2",
}
# Errors of pipeline.data.pictures that visitors meet -> Turkish; group 1 is the picture. Others stay English.
PROBLEMS = {
    r"(.*): cannot find a digit in it": r"\1: içinde rakam bulunamadı; daha yakından, açık üzerine koyu veya koyu "
    "üzerine açık olarak gösterin",
    r"(.*) is not a picture that can be read": r"\1 okunabilen bir resim değil; PNG veya JPEG kullanın",
    r"(.*) is damaged": r"\1 hasarlı; başka bir dosya seçin",
    r"(.*) has .*pixels; at most (\d+) million": r"\1 çok büyük; en çok \2 milyon piksel",
}


def say(key: str, language: str, **values) -> str:
    """A text in "en" or "tr", with its {placeholders} filled in."""
    english, turkish = TEXTS[key]
    text = turkish if language == "tr" else english
    return text.format(**values)


def term(name: str, language: str) -> str:
    """The name of a network, data set or class."""
    return TERMS.get(name, name) if language == "tr" else name


def problem(error: Exception, language: str) -> str:
    """An error's message."""
    text = str(error)
    if language != "tr":
        return text
    for pattern, turkish in PROBLEMS.items():
        match = re.match(pattern, text)
        if match:
            return match.expand(turkish)
    return text


def number(value: float, language: str, decimals: int = 0) -> str:
    """A number with its thousands grouped: 1,234.5 or 1.234,5."""
    text = f"{value:,.{decimals}f}"
    return text.translate(str.maketrans(",.", ".,")) if language == "tr" else text


def percent(fraction: float, language: str) -> str:
    """A fraction in percent: 99.7 % or %99,7; what would round to 100 without being 1 is more than 99.9."""
    more = "> " if 0.9995 <= fraction < 1 else ""
    value = number(99.9 if more else 100 * fraction, language, 1)
    return f"{more}%{value}" if language == "tr" else f"{more}{value}\N{NO-BREAK SPACE}%"
